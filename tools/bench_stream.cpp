#include "tools/bench_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "audio/error.h"
#include "engine/kernels/thread_team.h"
#include "tools/inputs.h"

extern char** environ;

namespace melflow::tools {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

double quantile(std::vector<double> values, double q) {
  const auto at = static_cast<size_t>(std::lround(q * static_cast<double>(values.size() - 1)));
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(at), values.end());
  return values[at];
}

/// Seconds from the start of `melflow synth - --stream --raw`, all frames waiting in its pipe, to its first sample.
double first_sample_after_start(const VoiceOptions& o, const std::filesystem::path& frames) {
  std::vector<std::string> words{"melflow", "synth", "-", "--stream", "--raw", "-o", "-", "--device", o.device};
  if (!o.voice.empty()) words.insert(words.end(), {"--voice", o.voice});
  if (o.threads > 0) words.insert(words.end(), {"--threads", std::to_string(o.threads)});
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(Exit::io_error, "no pipe can be made");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, frames.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  const auto begin = Clock::now();
  pid_t child = 0;
  const int failure = ::posix_spawn(&child, "/proc/self/exe", &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (failure != 0) {
    ::close(ends[0]);
    throw Error(Exit::io_error, "melflow cannot start itself");
  }
  char sample[2];
  const bool spoke = ::read(ends[0], sample, sizeof sample) > 0;
  const double took = seconds_since(begin);
  ::close(ends[0]);  // it ends quietly, as before | head
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!spoke) throw Error(Exit::internal, "melflow synth - --stream said nothing");
  return took;
}

/// A file of frames that goes with its owner.
class FramesFile {
 public:
  explicit FramesFile(const std::vector<float>& frames)
      : path_(std::filesystem::temp_directory_path() / ("melflow-bench-" + std::to_string(::getpid()) + ".f32")) {
    AtomicFile file(path_, AtomicFile::Existing::replace);
    file.write(std::as_bytes(std::span(frames)));
    file.commit();
  }
  ~FramesFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  FramesFile(const FramesFile&) = delete;
  FramesFile& operator=(const FramesFile&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Run {
  std::vector<double> chunks;  ///< seconds each
  double seconds = 0;
  std::vector<float> sound;
};

Run speak_in_chunks(const engine::Synthesizer& synthesizer, uint64_t seed, std::span<const float> frames, size_t chunk,
                    size_t bands) {
  const auto stream = synthesizer.open_stream(engine::Noise(seed));
  Run run;
  const auto begin = Clock::now();
  for (size_t at = 0; at < frames.size(); at += chunk * bands) {
    const auto start = Clock::now();
    stream->add(frames.subspan(at, std::min(chunk * bands, frames.size() - at)), run.sound);
    run.chunks.push_back(seconds_since(start));
  }
  stream->finish(run.sound);
  run.seconds = seconds_since(begin);
  return run;
}

/// Chunks of this size and everything at once, in turn, so that a machine whose speed drifts drifts for both.
json bench_chunks(const engine::Synthesizer& synthesizer, uint64_t seed, std::span<const float> frames, size_t chunk) {
  constexpr int kRounds = 3;
  const auto& recipe = synthesizer.voice().mel;
  const auto bands = static_cast<size_t>(recipe.n_mels);
  std::vector<double> times, streamed, offline;
  double error = 0, sound_seconds = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto whole = speak_in_chunks(synthesizer, seed, frames, frames.size() / bands, bands);
    const auto run = speak_in_chunks(synthesizer, seed, frames, chunk, bands);
    times.insert(times.end(), run.chunks.begin(), run.chunks.end());
    streamed.push_back(run.seconds);
    offline.push_back(whole.seconds);
    sound_seconds = static_cast<double>(run.sound.size()) / recipe.sample_rate;
    if (run.sound.size() != whole.sound.size()) error = INFINITY;
    for (size_t i = 0; i < std::min(run.sound.size(), whole.sound.size()); ++i) {
      error = std::max<double>(error, std::abs(run.sound[i] - whole.sound[i]));
    }
  }
  return {{"frames", chunk},
          {"milliseconds_of_sound", 1e3 * static_cast<double>(chunk) * recipe.hop_length / recipe.sample_rate},
          {"median_ms", 1e3 * quantile(times, 0.5)},
          {"p99_ms", 1e3 * quantile(times, 0.99)},
          {"max_ms", 1e3 * quantile(times, 1.0)},
          {"streams_in_real_time", std::floor(sound_seconds / quantile(streamed, 0.5))},
          {"times_offline", quantile(streamed, 0.5) / quantile(offline, 0.5)},
          {"max_error_against_offline", error}};
}

}  // namespace

json bench_stream(const VoiceOptions& options, double seconds) {
  const auto synthesizer = options.open();
  const auto frames = sample_frames(synthesizer.voice().mel, seconds);
  const FramesFile file(frames);
  std::vector<double> starts;
  for (int i = 0; i < 5; ++i) starts.push_back(first_sample_after_start(options, file.path()));
  json result = {{"bench", "stream"},
                 {"voice", synthesizer.voice().name},
                 {"threads", options.threads > 0 ? options.threads : engine::default_threads()},
                 {"first_sample_ms_median", 1e3 * quantile(starts, 0.5)},
                 {"first_sample_ms_min", 1e3 * quantile(starts, 0.0)},
                 {"chunks", json::array()}};
  for (const size_t chunk : {1, 4, 16, 64}) {
    result["chunks"].push_back(bench_chunks(synthesizer, options.seed, frames, chunk));
  }
  return result;
}

}  // namespace melflow::tools
