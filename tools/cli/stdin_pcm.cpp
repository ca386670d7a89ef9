#include "tools/cli/stdin_pcm.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "tools/cli/inputs.h"
#include "tools/cli/signals.h"

namespace melflow::tools {

StdinPcm::StdinPcm(const RawFormat& raw, const std::string& what) {
  if (raw.rate <= 0 || raw.format.empty()) {
    throw Error(Exit::usage, "-: " + what + " on stdin needs --rate HZ and --format pcm16, pcm24 or float32");
  }
  encoding_ = audio::encoding_from_name(raw.format);
  width_ = audio::bytes_per_sample(encoding_);
}

bool StdinPcm::next(std::vector<float>& samples) {
  constexpr size_t kPrefix = 4;  // tells a file from raw samples
  while (bytes_.size() < (begun_ ? width_ : std::max(kPrefix, width_))) {
    if (read_some_stdin(bytes_)) continue;
    if (bytes_.size() >= width_) break;
    if (!bytes_.empty() && !stop_requested()) {
      throw Error(Exit::bad_data, "stdin: ends within a sample, which takes " + std::to_string(width_) +
                                      " bytes; is it cut short, or --format another?");
    }
    return false;
  }
  if (!begun_) require_raw(bytes_, "raw PCM");
  begun_ = true;
  const size_t whole = bytes_.size() / width_ * width_;
  samples = audio::decode_pcm({bytes_.data(), whole}, encoding_);
  bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(whole));
  if (!std::ranges::all_of(samples, [](float s) { return std::isfinite(s); })) {
    throw Error(Exit::bad_data, "stdin: holds NaN or infinity");
  }
  return true;
}

}  // namespace melflow::tools
