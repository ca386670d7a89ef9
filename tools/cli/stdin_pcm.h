#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "audio/pcm.h"

namespace melflow::tools {

/// How raw PCM on stdin is to be read: --rate and --format.
struct RawFormat {
  int rate = 0;
  std::string format;
};

/// Raw PCM on standard input, as samples of its own rate, while it arrives.
class StdinPcm {
 public:
  /// Throws Error{usage} where rate or format were not said; `what` is for that message ("raw PCM").
  StdinPcm(const RawFormat& raw, const std::string& what);

  /// What has arrived, at least a sample; false at its end, and where somebody stopped it. Throws Error{bad_data} for
  /// what is a file, ends within a sample, or holds NaN or infinity, Error{io_error}.
  bool next(std::vector<float>& samples);

 private:
  audio::Encoding encoding_;
  size_t width_;
  bool begun_ = false;
  std::vector<std::byte> bytes_;
};

}  // namespace melflow::tools
