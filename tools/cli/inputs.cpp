#include "tools/cli/inputs.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "audio/resample.h"
#include "audio/sound_file.h"
#include "base/error.h"
#include "base/file_ending.h"
#include "engine/files/file_kind.h"
#include "engine/files/mapped_file.h"
#include "engine/files/mel_file.h"
#include "tools/cli/mel_scale.h"
#include "tools/cli/signals.h"

namespace melflow::tools {
namespace {

namespace fs = std::filesystem;

std::atomic<bool> stdin_left{false};

enum class Kind { mel, sound };

/// Whether the first bytes are those of a file of numbers.
bool holds_numbers(const std::string& path) {
  const files::MappedFile file(path);
  const auto kind = files::kind_of(file.bytes().first(std::min<size_t>(512, file.bytes().size())));
  return kind == files::FileKind::npy || kind == files::FileKind::safetensors || files::may_be_pytorch(kind);
}

/// Told by the first bytes; by the name where they say nothing.
Kind kind_of(const std::string& path) {
  if (holds_numbers(path)) return Kind::mel;
  for (const char* ending : {".npy", ".npz", ".pt", ".safetensors"}) {
    if (has_ending(path, ending)) return Kind::mel;
  }
  return Kind::sound;
}

void require_end_of_stdin() {
  if (stop_requested()) throw Error(Exit::io_error, "stdin: was not read to its end");
}

}  // namespace

std::vector<std::byte> read_stdin() {
  constexpr size_t kMost = size_t{1} << 31;
  std::vector<std::byte> all;
  while (read_some_stdin(all)) {
    if (all.size() > kMost) throw Error(Exit::bad_data, "stdin: holds more than 2 GiB");
  }
  require_end_of_stdin();
  return all;
}

void leave_stdin(bool leave) { stdin_left = leave; }

bool read_some_stdin(std::vector<std::byte>& bytes) {
  constexpr int kPatience = 50;  // ms, after which a signal is looked for
  constexpr size_t kBlock = 1 << 16;
  for (;;) {
    if (stop_requested() || stdin_left) return false;
    pollfd input{STDIN_FILENO, POLLIN, 0};
    const int ready = ::poll(&input, 1, kPatience);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    const size_t before = bytes.size();
    bytes.resize(before + kBlock);
    const ssize_t n = ::read(STDIN_FILENO, bytes.data() + before, kBlock);
    const int error = errno;
    bytes.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n < 0 && error == EINTR) continue;
    if (n < 0) throw Error(Exit::io_error, std::string("stdin: cannot be read (") + std::strerror(error) + ")");
    return n > 0;
  }
}

void require_raw(std::span<const std::byte> beginning, const std::string& wanted) {
  const std::string_view text(reinterpret_cast<const char*>(beginning.data()), std::min<size_t>(4, beginning.size()));
  constexpr std::pair<std::string_view, const char*> kContainers[] = {
      {"RIFF", "RIFF"}, {"RIFX", "RIFX"}, {"RF64", "RF64"}, {"BW64", "BW64"},        {"riff", "Wave64"},
      {"fLaC", "FLAC"}, {"OggS", "Ogg"},  {"FORM", "AIFF"}, {"caff", "CAF"},         {".snd", "AU"},
      {"ID3\2", "MP3"}, {"ID3\3", "MP3"}, {"ID3\4", "MP3"}, {"\xff\xfb\x90", "MP3"}, {"\xff\xfb\xb0", "MP3"}};
  for (const auto& [magic, container] : kContainers) {
    if (!text.starts_with(magic)) continue;
    throw Error(Exit::bad_data, std::string("stdin: begins as a file (") + container + "), not as " + wanted +
                                    "; write it to a file and name that");
  }
}

void require_recording(const std::string& input) {
  std::error_code unknown;
  if (!fs::is_regular_file(input, unknown) || fs::file_size(input, unknown) == 0 || !holds_numbers(input)) return;
  throw Error(Exit::bad_data, input + ": holds numbers, and no recording; a mel is what melflow synth speaks");
}

namespace {

/// The mel of sound that is still being read.
class MelOfSound {
 public:
  MelOfSound(audio::MelStream& stream, std::string name)
      : stream_(stream), name_(std::move(name)), mel_(stream.options()) {
    stream_.reset();
  }

  void hear(std::span<const float> samples) {
    take([&] { stream_.add(samples, frames_); });
  }
  Recorded finish() {
    const auto samples = stream_.samples();
    take([&] { stream_.finish(frames_); });
    return {std::move(mel_).finish(), samples};
  }

 private:
  /// The frames that `give` makes.
  void take(const auto& give) {
    frames_.clear();
    try {
      give();
      mel_.append(frames_);
    } catch (const Error& e) {
      throw Error(e.code(), name_ + ": " + e.what());
    }
  }

  audio::MelStream& stream_;
  std::string name_;
  files::MelFramesWriter mel_;
  std::vector<float> frames_;
};

void hear_stdin(MelOfSound& mel, int rate, const RawFormat& raw) {
  StdinPcm pcm(raw, "raw PCM");
  audio::StreamResampler resampler(raw.rate, rate);
  std::vector<float> samples, converted;
  int64_t heard = 0;
  const auto hear_converted = [&] {
    mel.hear(converted);
    converted.clear();
  };
  while (pcm.next(samples)) {
    heard += std::ssize(samples);
    resampler.push(samples, converted);
    hear_converted();
  }
  require_end_of_stdin();
  if (heard == 0) throw Error(Exit::bad_data, "stdin: holds no sample");
  resampler.finish(converted);
  hear_converted();
}

Recorded recorded_mel(const std::string& input, audio::MelStream& stream, int assume_rate, const RawFormat& raw) {
  MelOfSound mel(stream, input == "-" ? "stdin" : input);
  const int rate = stream.options().sample_rate;
  if (input == "-") {
    hear_stdin(mel, rate, raw);
  } else {
    require_recording(input);
    audio::read_audio(input, {.sample_rate = rate, .assume_rate = assume_rate},
                      [&](std::span<const float> samples) { mel.hear(samples); });
  }
  return mel.finish();
}

}  // namespace

Recorded read_recorded(const std::string& input, audio::MelStream& stream, int assume_rate, const RawFormat& raw) {
  try {
    return recorded_mel(input, stream, assume_rate, raw);
  } catch (const std::bad_alloc&) {
    throw audio::too_long_for_memory(input);
  }
}

namespace {

/// A mel says by its recipe how it was made, or is taken at its word; but its numbers are looked at.
void look_at_scale(const files::MelFrames& mel, const std::string& name) {
  constexpr int kLooked = 1000;  // frames
  if (mel.recipe()) return;
  std::vector<float> values;
  mel.append(0, std::min(mel.frames(), kLooked), values);
  MelScale scale(name);
  scale.look(values);
  scale.finish();
}

Spoken spoken_mel(files::MelFrames mel, const engine::Voice& voice, const std::string& name) {
  engine::require_same_recipe(mel, voice, name);
  look_at_scale(mel, name);
  return {std::move(mel), {}};
}

}  // namespace

Spoken read_spoken(const std::string& input, const engine::Voice& voice, const RawFormat& raw) {
  if (input == "-" && raw.format.empty()) {
    const auto bytes = read_stdin();
    if (bytes.empty()) throw Error(Exit::bad_data, "stdin: is empty; what was to write the mel there wrote nothing");
    return spoken_mel(files::parse_mel(bytes, "stdin", voice.mel.n_mels), voice, "stdin");
  }
  const auto kind = input == "-" ? Kind::sound : kind_of(input);
  if (kind == Kind::mel) return spoken_mel(files::MelFrames(input, voice.mel.n_mels), voice, input);
  audio::MelStream stream(voice.mel);
  auto recorded = read_recorded(input, stream, 0, raw);
  return {std::move(recorded.mel), recorded.samples};
}

nlohmann::json read_json(const std::string& path) {
  const files::MappedFile file(path);
  const auto text = file.bytes();
  auto json = nlohmann::json::parse(reinterpret_cast<const char*>(text.data()),
                                    reinterpret_cast<const char*>(text.data()) + text.size(), nullptr, false);
  if (json.is_discarded()) throw Error(Exit::config, path + ": is no JSON");
  return json;
}

}  // namespace melflow::tools
