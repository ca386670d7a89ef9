#include "audio/mel_stream.h"

#include <algorithm>

namespace melflow::audio {

MelStream::MelStream(const MelOptions& options) : extractor_(options) {
  pad_ = options.stft().pad_length();
  // The window lies in the middle of n_fft. A frame of n_fft, of which the extractor's must be whole, may reach
  // further.
  reach_ = std::max<int64_t>((options.n_fft + options.win_length) / 2 - pad_, options.n_fft - 2 * pad_);
  kept_.sample_rate = options.sample_rate;
}

void MelStream::add(std::span<const float> samples, std::vector<float>& frames) {
  kept_.samples.insert(kept_.samples.end(), samples.begin(), samples.end());
  // Before there is enough to mirror at the beginning, not even the first frame is known.
  const int64_t there = this->samples() - std::max(reach_, pad_ + 1);
  if (there >= 0) take((this->samples() - reach_) / options().hop_length + 1, frames);
}

void MelStream::finish(std::vector<float>& frames) {
  const int64_t end = options().stft().frames(samples());
  if (end == 0) extractor_(kept_);  // throws, and says what is wrong with it
  take(end, frames);
}

void MelStream::reset() {
  kept_.samples.clear();
  first_ = done_ = 0;
}

void MelStream::take(int64_t end, std::vector<float>& frames) {
  if (end <= done_) return;
  // The mel of what is kept: its first frames see an end that is none, and so may its last ones; those between are the
  // whole's. That is some transforms too many a call, of half a microsecond each.
  const Mel mel = extractor_(kept_);
  append_frames(mel, static_cast<int>(done_ - first_ / options().hop_length), static_cast<int>(end - done_), frames);
  done_ = end;
  // What the next frame sees stays, and what a mirrored end may ask for.
  const int64_t hop = options().hop_length;
  const int64_t needed = std::max<int64_t>(first_, (done_ * hop - 2 * pad_ - hop) / hop * hop);
  kept_.samples.erase(kept_.samples.begin(), kept_.samples.begin() + (needed - first_));
  first_ = needed;
}

}  // namespace melflow::audio
