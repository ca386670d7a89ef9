#include "engine/train/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <span>

#include <nlohmann/json.hpp>

#include "audio/atomic_file.h"
#include "audio/error.h"

namespace melflow::engine {
namespace {

/// Drops what a run wrote after its last checkpoint: those steps are done again.
void cut_after(const std::filesystem::path& path, int64_t step) {
  std::ifstream in(path);
  std::string kept, line;
  while (std::getline(in, line)) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object() && json.value("step", int64_t{0}) <= step) kept += line + "\n";
  }
  AtomicFile file(path, AtomicFile::Existing::replace);
  file.write(std::as_bytes(std::span(kept)));
  file.commit();
}

}  // namespace

RunLog::RunLog(const std::filesystem::path& run, int64_t step) : events_(run), path_(run / "metrics.jsonl") {
  if (std::filesystem::exists(path_)) cut_after(path_, step);
  if (step > 0) events_.begins_again(step + 1);
  metrics_.open(path_, std::ios::app);
  if (!metrics_) throw Error(Exit::cannot_create, path_.string() + ": cannot be written");
}

void RunLog::scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  nlohmann::json line{{"step", step}};
  for (const auto& [tag, value] : values) {
    line[tag] = value;
    events_.scalar(tag, step, static_cast<float>(value));
  }
  metrics_ << line.dump() << "\n";
}

void RunLog::audio(int64_t step, const std::string& tag, const audio::Waveform& waveform) {
  events_.audio(tag, step, waveform);
}

void RunLog::image(int64_t step, const std::string& tag, const files::Image& image) { events_.image(tag, step, image); }

void RunLog::flush() {
  metrics_.flush();
  const int descriptor = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  const bool on_disk = descriptor >= 0 && ::fsync(descriptor) == 0;
  if (descriptor >= 0) ::close(descriptor);
  if (!metrics_ || !on_disk) throw Error(Exit::io_error, path_.string() + ": cannot be written; is the disk full?");
  events_.flush();
}

}  // namespace melflow::engine
