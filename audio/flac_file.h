#pragma once

#include <memory>
#include <span>

#include "audio/sound_file.h"
#include "base/atomic_file.h"

namespace melflow::audio {

/// FLAC, one channel, into a file as the samples come; memory does not grow with them. The file must outlive this.
class FlacFile {
 public:
  /// Throws Error{usage} for float32, which FLAC does not hold.
  FlacFile(AtomicFile& file, int sample_rate, Encoding encoding);
  ~FlacFile();

  /// Throws Error{io_error} where the file cannot be written.
  void write(std::span<const float> samples);
  /// Nothing follows; the file is whole, but not committed.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace melflow::audio
