#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "audio/waveform.h"
#include "engine/files/picture.h"
#include "engine/files/tfevents.h"

namespace melflow::engine {

/// What a run leaves to look at: TensorBoard events and the same numbers as lines of metrics.jsonl.
class RunLog {
 public:
  /// Appends to an existing run; what it logged after `step` (it died before its checkpoint) goes, from metrics.jsonl
  /// and from what TensorBoard shows.
  RunLog(const std::filesystem::path& run, int64_t step);

  void scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values);
  void audio(int64_t step, const std::string& tag, const audio::Waveform& waveform);
  void image(int64_t step, const std::string& tag, const files::Image& image);
  /// Returns when all of it is on the disk. Throws Error{io_error}.
  void flush();

 private:
  files::EventWriter events_;
  std::filesystem::path path_;  // of metrics.jsonl
  std::ofstream metrics_;
};

}  // namespace melflow::engine
