#include "engine/synth/hasty_stream.h"

#include <algorithm>

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
  exact_->add(waiting_, meter_.truth);
  frames_ += chunk_;
  const std::vector<float> last(waiting_.end() - static_cast<ptrdiff_t>(bands_), waiting_.end());
  waiting_.clear();
  const int64_t end = std::max<int64_t>(0, (frames_ - lookahead_) * hop_);
  // Both begin at the same sample, so exact_ has come this far:
  known_ = given_ - static_cast<int64_t>(meter_.said.size()) + static_cast<int64_t>(meter_.truth.size());
  if (end > given_) {
    guess_->continue_from(*exact_);
    std::vector<float> guessed;
    while (known_ + static_cast<int64_t>(guessed.size()) < end) guess_->add(last, guessed);
    const auto skipped = static_cast<size_t>(given_ - known_), count = static_cast<size_t>(end - given_);
    give(std::span(guessed).subspan(skipped, count), out);
  }
  meter_.compare();
}

void HastyStream::finish(std::vector<float>& out) {
  if (!waiting_.empty()) {
    exact_->add(waiting_, meter_.truth);
    waiting_.clear();
  }
  exact_->finish(meter_.truth);
  // Nothing needs to be guessed any more.
  if (meter_.truth.size() > meter_.said.size()) {
    const std::vector<float> rest(meter_.truth.begin() + static_cast<ptrdiff_t>(meter_.said.size()),
                                  meter_.truth.end());
    give(rest, out);
  }
  meter_.compare();
}

void HastyStream::give(std::span<const float> samples, std::vector<float>& out) {
  out.insert(out.end(), samples.begin(), samples.end());
  meter_.said.insert(meter_.said.end(), samples.begin(), samples.end());
  given_ += static_cast<int64_t>(samples.size());
}

}  // namespace melflow::engine
