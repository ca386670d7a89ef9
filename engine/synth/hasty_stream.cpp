#include "engine/synth/hasty_stream.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace melflow::engine {

HastyStream::HastyStream(std::unique_ptr<WaveGlowStream> exact, std::unique_ptr<WaveGlowStream> guess,
                         const WaveGlowWeights& w, int64_t lookahead_frames, int64_t chunk_frames)
    : exact_(std::move(exact)),
      guess_(std::move(guess)),
      bands_(static_cast<size_t>(w.n_mels)),
      hop_(w.hop_length),
      lookahead_(lookahead_frames),
      chunk_(chunk_frames) {}

void HastyStream::add(std::span<const float> frames, std::vector<float>& out) {
  const auto whole = static_cast<size_t>(chunk_) * bands_;
  for (size_t at = 0; at < frames.size();) {
    const auto part = frames.subspan(at, std::min(whole - waiting_.size(), frames.size() - at));
    waiting_.insert(waiting_.end(), part.begin(), part.end());
    at += part.size();
    if (waiting_.size() == whole) speak_chunk(out);
  }
}

void HastyStream::speak_chunk(std::vector<float>& out) {
  exact_->add(waiting_, truth_);
  frames_ += chunk_;
  const std::vector<float> last(waiting_.end() - static_cast<ptrdiff_t>(bands_), waiting_.end());
  waiting_.clear();
  const int64_t end = std::max<int64_t>(0, (frames_ - lookahead_) * hop_);
  // truth_ begins where said_ does, so exact_ has come this far:
  known_ = given_ - static_cast<int64_t>(said_.size()) + static_cast<int64_t>(truth_.size());
  if (end > given_) {
    guess_->continue_from(*exact_);
    std::vector<float> guessed;
    while (known_ + static_cast<int64_t>(guessed.size()) < end) guess_->add(last, guessed);
    const auto skipped = static_cast<size_t>(given_ - known_), count = static_cast<size_t>(end - given_);
    give(std::span(guessed).subspan(skipped, count), out);
  }
  compare();
}

void HastyStream::finish(std::vector<float>& out) {
  if (!waiting_.empty()) {
    exact_->add(waiting_, truth_);
    waiting_.clear();
  }
  exact_->finish(truth_);
  // Nothing needs to be guessed any more.
  if (truth_.size() > said_.size()) {
    const std::vector<float> rest(truth_.begin() + static_cast<ptrdiff_t>(said_.size()), truth_.end());
    give(rest, out);
  }
  compare();
}

void HastyStream::give(std::span<const float> samples, std::vector<float>& out) {
  out.insert(out.end(), samples.begin(), samples.end());
  said_.insert(said_.end(), samples.begin(), samples.end());
  given_ += static_cast<int64_t>(samples.size());
}

void HastyStream::compare() {
  const auto count = static_cast<ptrdiff_t>(std::min(truth_.size(), said_.size()));
  for (ptrdiff_t i = 0; i < count; ++i) {
    const double truth = truth_[static_cast<size_t>(i)], error = said_[static_cast<size_t>(i)] - truth;
    signal_ += truth * truth;
    error_ += error * error;
  }
  truth_.erase(truth_.begin(), truth_.begin() + count);
  said_.erase(said_.begin(), said_.begin() + count);
}

std::optional<double> HastyStream::snr_db() const {
  if (error_ == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(signal_ / error_);
}

}  // namespace melflow::engine
