#include "tools/bench/benches.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/kernels/thread_team.h"
#include "tools/bench/measurement.h"
#include "tools/cli/with_torch.h"

extern char** environ;

namespace melflow::tools {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

/// Frames as a file that no name leads to, and so nothing is left of.
class FramesFile {
 public:
  explicit FramesFile(std::span<const float> frames) : descriptor_(::memfd_create("melflow frames", MFD_CLOEXEC)) {
    for (auto bytes = std::as_bytes(frames); !bytes.empty();) {
      const auto count = ::write(descriptor_, bytes.data(), bytes.size());
      if (count <= 0) throw Error(Exit::io_error, "there is no memory for the frames that are spoken");
      bytes = bytes.subspan(static_cast<size_t>(count));
    }
  }
  ~FramesFile() { ::close(descriptor_); }
  FramesFile(const FramesFile&) = delete;
  FramesFile& operator=(const FramesFile&) = delete;
  int from_the_start() const {
    ::lseek(descriptor_, 0, SEEK_SET);
    return descriptor_;
  }

 private:
  int descriptor_;
};

/// Who speaks without LibTorch, also where this is the program with it.
std::filesystem::path speaker() {
  const auto melflow = program_folder() / "melflow";
  std::error_code unknown;
  return std::filesystem::exists(melflow, unknown) ? melflow : "/proc/self/exe";
}

/// Seconds from the start of `melflow synth - --stream --raw`, all frames waiting at its stdin, to its first sample.
double first_sample_after_start(const VoiceOptions& o, const FramesFile& frames) {
  std::vector<std::string> words{"melflow", "synth", "-", "--stream", "--raw", "-o", "-"};
  for (auto& word : o.words()) words.push_back(std::move(word));
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(Exit::io_error, "no pipe can be made");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, frames.from_the_start(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  const auto program = speaker();
  const auto begin = Clock::now();
  pid_t child = 0;
  const int failure = ::posix_spawn(&child, program.c_str(), &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (failure != 0) {
    ::close(ends[0]);
    throw Error(Exit::io_error, program.string() + ": cannot be started");
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

struct Run {
  double seconds = 0;
  std::vector<float> sound;
};

Run speak_in_chunks(const engine::Synthesizer& synthesizer, uint64_t seed, std::span<const float> frames, size_t chunk,
                    Times& chunks) {
  const auto bands = static_cast<size_t>(synthesizer.voice().mel.n_mels);
  const auto stream = synthesizer.open_stream(engine::Noise(seed));
  Run run;
  const auto begin = Clock::now();
  for (size_t at = 0; at < frames.size(); at += chunk * bands) {
    chunks.take([&] { stream->add(frames.subspan(at, std::min(chunk * bands, frames.size() - at)), run.sound); });
  }
  stream->finish(run.sound);
  run.seconds = seconds_since(begin);
  return run;
}

Peak peak_of(const VoiceOptions& o) { return multiply_add_peak(cpu::Precision::fp32, engine::threads_for(o.threads)); }

/// Chunks of this size and everything at once, in turn, so that a machine whose speed drifts drifts for both.
json bench_chunks(const engine::Synthesizer& synthesizer, const VoiceOptions& o, std::span<const float> frames,
                  size_t chunk) {
  const auto& recipe = synthesizer.voice().mel;
  const double chunk_ms = 1e3 * static_cast<double>(chunk) * recipe.hop_length / recipe.sample_rate;
  auto what = spoken_by(synthesizer, o);
  what.update({{"frames_a_chunk", chunk}, {"milliseconds_of_sound_a_chunk", chunk_ms}});
  Measurement measurement("stream", what, peak_of(o));
  Times chunks, at_once, streamed, offline;
  double error = 0, sound_seconds = 0;
  for (int round = 0; round < 3; ++round) {
    const auto whole = speak_in_chunks(synthesizer, o.seed, frames, frames.size(), at_once);
    const auto run = speak_in_chunks(synthesizer, o.seed, frames, chunk, chunks);
    streamed.add(run.seconds);
    offline.add(whole.seconds);
    sound_seconds = static_cast<double>(run.sound.size()) / recipe.sample_rate;
    if (run.sound.size() != whole.sound.size()) error = INFINITY;
    for (size_t i = 0; i < std::min(run.sound.size(), whole.sound.size()); ++i) {
      error = std::max<double>(error, std::abs(run.sound[i] - whole.sound[i]));
    }
  }
  auto milliseconds = chunks.json(1e3);
  milliseconds["max"] = 1e3 * chunks.quantile(1);
  return measurement.report({{"chunk_ms", milliseconds},
                             {"seconds", streamed.json()},
                             {"streams_in_real_time", std::floor(sound_seconds / streamed.median())},
                             {"times_rival_median", streamed.median() / offline.median()}},
                            {{"what", "all frames at once"}, {"seconds", offline.json()}},
                            {{"what", "largest difference from all frames at once"}, {"value", error}});
}

json bench_start(const engine::Synthesizer& synthesizer, const VoiceOptions& o, std::span<const float> frames) {
  const FramesFile file(frames);
  auto what = spoken_by(synthesizer, o);
  what["start"] = "melflow synth - --stream, all frames at its stdin";
  Measurement measurement("stream", what, peak_of(o));
  Times starts;
  for (int i = 0; i < 10; ++i) starts.add(first_sample_after_start(o, file));
  return measurement.report({{"first_sample_ms", starts.json(1e3)}}, nullptr, nullptr);
}

}  // namespace

void bench_stream(const VoiceOptions& options, double seconds, const Print& print) {
  const auto synthesizer = options.open();
  const auto frames = sample_frames(synthesizer.voice().mel, seconds);
  print(bench_start(synthesizer, options, frames));
  for (const size_t chunk : {1, 4, 16, 64}) print(bench_chunks(synthesizer, options, frames, chunk));
}

}  // namespace melflow::tools
