#include "engine/train/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <span>

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"

namespace melflow::engine {
namespace {

/// Drops what a run wrote after its last checkpoint: those steps are done again. Throws Error{no_input} where the file
/// cannot be read to its end: what is there stays.
void cut_after(const std::filesystem::path& path, int64_t step) {
  std::ifstream in(path);
  std::string kept, line;
  while (std::getline(in, line)) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    const auto number = json.is_object() ? json.value("step", nlohmann::json(0)) : nlohmann::json();
    if (number.is_number() && number <= step) kept += line + "\n";
  }
  if (!in.eof()) throw Error(Exit::no_input, path.string() + ": cannot be read, so the run cannot go on in it");
  write_file(path, std::as_bytes(std::span(kept)), AtomicFile::Existing::replace);
}

/// Whether all that was written to the file, through whatever descriptor, is on the disk: waits for it.
bool reaches_disk(const std::filesystem::path& path) {
  const auto again = [](auto&& call) {
    int result = 0;
    do {
      result = call();
    } while (result < 0 && errno == EINTR);
    return result;
  };
  const int descriptor = again([&] { return ::open(path.c_str(), O_WRONLY | O_CLOEXEC); });
  if (descriptor < 0) return false;
  const bool done = again([&] { return ::fsync(descriptor); }) == 0;
  ::close(descriptor);
  return done;
}

}  // namespace

RunLog::RunLog(const std::filesystem::path& run, int64_t step) : events_(run), path_(run / "metrics.jsonl") {
  if (std::filesystem::exists(path_)) {  // of a run that goes on, be it from its beginning
    cut_after(path_, step);
    events_.begins_again(step + 1);
  }
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
  if (!metrics_ || !reaches_disk(path_))
    throw Error(Exit::io_error, path_.string() + ": cannot be written; is the disk full?");
  events_.flush();
}

}  // namespace melflow::engine
