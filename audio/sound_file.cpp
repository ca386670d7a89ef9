#include "audio/sound_file.h"

#include <fcntl.h>
#include <sndfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <new>
#include <utility>

#include "audio/resample.h"
#include "audio/sndfile_open.h"
#include "audio/sound_bytes.h"
#include "base/error.h"

namespace melflow::audio {
namespace {

struct CloseSndfile {
  void operator()(SNDFILE* file) const { sf_close(file); }
};
using Sndfile = std::unique_ptr<SNDFILE, CloseSndfile>;

struct OpenAudio {
  Sndfile file;
  SF_INFO info{};
  SoundBytes data;
};

[[noreturn]] void fail_bad(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": " + what);
}

/// An ordinary file, opened for reading. A pipe or a device could block for ever, so neither is opened.
int open_ordinary_file(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) {
    throw Error(Exit::no_input, path.string() + ": cannot be read: " + std::strerror(errno));
  }
  struct stat status {};
  const bool known = ::fstat(descriptor, &status) == 0;
  if (known && S_ISREG(status.st_mode) && status.st_size > 0) return descriptor;
  ::close(descriptor);
  if (known && S_ISREG(status.st_mode)) fail_bad(path.string(), "is empty (0 bytes); give an audio file");
  throw Error(Exit::no_input, path.string() + (S_ISDIR(status.st_mode) ? ": is a folder; name the files in it"
                                                                       : ": is not an ordinary file; copy it to one"));
}

/// Bytes that libsndfile reads as a file.
struct BytesFile {
  std::span<const std::byte> bytes;
  sf_count_t position = 0;

  static BytesFile& of(void* self) { return *static_cast<BytesFile*>(self); }
  static sf_count_t length(void* self) { return static_cast<sf_count_t>(of(self).bytes.size()); }
  static sf_count_t tell(void* self) { return of(self).position; }
  static sf_count_t seek(sf_count_t offset, int whence, void* self) {
    const sf_count_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? tell(self) : length(self);
    return of(self).position = std::clamp<sf_count_t>(base + offset, 0, length(self));
  }
  static sf_count_t read(void* target, sf_count_t count, void* self) {
    BytesFile& file = of(self);
    const sf_count_t taken = std::clamp<sf_count_t>(count, 0, length(self) - file.position);
    if (taken > 0) std::memcpy(target, file.bytes.data() + file.position, static_cast<size_t>(taken));
    file.position += taken;
    return taken;
  }
  static sf_count_t write(const void*, sf_count_t, void*) { return 0; }
};

/// Throws for what cannot be a recording.
OpenAudio checked(OpenAudio audio, const std::string& path, const std::string& why) {
  constexpr int kMostChannels = 1024;
  if (!audio.file) {
    const bool impossible = why.find("SF_INFO") != std::string::npos;  // libsndfile's word for such a rate
    fail_bad(path, impossible ? "claims a sample rate of 0 Hz or beyond 2^31, or no channel; write its header anew"
                              : "is not audio that can be read: " + why + " Give WAV, FLAC, AIFF, Ogg or MP3.");
  }
  if (audio.info.channels < 1 || audio.info.channels > kMostChannels) {
    fail_bad(path, "claims " + std::to_string(audio.info.channels) + " channels; 1 to 1024 are possible");
  }
  return audio;
}

void require_rate(const OpenAudio& audio, const std::string& path) {
  constexpr int kHighestRate = 10'000'000;
  if (audio.info.samplerate >= 1 && audio.info.samplerate <= kHighestRate) return;
  fail_bad(path, "claims a sample rate of " + std::to_string(audio.info.samplerate) +
                     " Hz; convert it to a usual one, or melflow mel --assume-rate HZ");
}

OpenAudio open_audio(const std::filesystem::path& path) {
  OpenAudio audio;
  const int descriptor = open_ordinary_file(path);
  struct stat status {};
  if (::fstat(descriptor, &status) == 0) {
    audio.data = sound_bytes(static_cast<uint64_t>(status.st_size), [descriptor](uint64_t at, std::span<char> bytes) {
      return ::pread(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(at)) ==
             static_cast<ssize_t>(bytes.size());
    });
  }
  // libsndfile closes the descriptor, also where it fails.
  std::string why;
  audio.file.reset(open_sndfile([&] { return sf_open_fd(descriptor, SFM_READ, &audio.info, SF_TRUE); }, why));
  return checked(std::move(audio), path.string(), why);
}

/// `memory` must outlive the result.
OpenAudio open_audio(BytesFile& memory, const std::string& name) {
  if (memory.bytes.empty()) fail_bad(name, "is empty (0 bytes); give an audio file");
  SF_VIRTUAL_IO io{&BytesFile::length, &BytesFile::seek, &BytesFile::read, &BytesFile::write, &BytesFile::tell};
  OpenAudio audio;
  audio.data = sound_bytes(memory.bytes.size(), [&](uint64_t at, std::span<char> bytes) {
    if (at > memory.bytes.size() || memory.bytes.size() - at < bytes.size()) return false;
    std::memcpy(bytes.data(), memory.bytes.data() + at, bytes.size());
    return true;
  });
  std::string why;
  audio.file.reset(open_sndfile([&] { return sf_open_virtual(&io, SFM_READ, &audio.info, &memory); }, why));
  return checked(std::move(audio), name, why);
}

std::string format_name(SNDFILE* file, int format) {
  SF_FORMAT_INFO major{}, minor{};
  major.format = format & SF_FORMAT_TYPEMASK;
  minor.format = format & SF_FORMAT_SUBMASK;
  sf_command(file, SFC_GET_FORMAT_INFO, &major, sizeof major);
  sf_command(file, SFC_GET_FORMAT_INFO, &minor, sizeof minor);
  std::string name = major.name != nullptr ? major.name : "unknown";
  if (minor.name != nullptr) name += std::string(", ") + minor.name;
  return name;
}

[[noreturn]] void fail_long(const std::string& path, int64_t most) {
  fail_bad(path, "is longer than " + std::to_string(most) + " samples; cut it into pieces");
}

/// What a file promises and does not hold, in frames.
int64_t missing_frames(const OpenAudio& audio, int64_t read) {
  const int kind = audio.info.format & SF_FORMAT_TYPEMASK;
  if (kind == SF_FORMAT_FLAC) return audio.info.frames == SF_COUNT_MAX ? 0 : audio.info.frames - read;
  if (audio.data.missing == 0) return 0;
  return static_cast<int64_t>(static_cast<double>(read) * static_cast<double>(audio.data.missing) /
                              static_cast<double>(audio.data.held));
}

float mean_of(std::span<const float> frame) {
  double sum = 0.0;
  for (const float sample : frame) sum += sample;
  return static_cast<float>(sum / static_cast<double>(frame.size()));
}

/// Gives all frames, channels averaged, or one of them; returns how many, which is what the file delivers, whatever its
/// header says.
int64_t give_mono(const std::string& path, OpenAudio& audio, int64_t most, int only, const SampleSink& sink) {
  constexpr int64_t kBlockSamples = 1 << 16;
  const auto channels = static_cast<size_t>(audio.info.channels);
  std::vector<float> block(std::max(static_cast<size_t>(kBlockSamples), channels)), mono(block.size() / channels);
  int64_t held = 0;
  for (;;) {
    const sf_count_t frames = sf_readf_float(audio.file.get(), block.data(), std::ssize(mono));
    if (frames <= 0 || frames > std::ssize(mono)) break;
    if (held + frames > most) fail_long(path, most);
    for (size_t i = 0; i < static_cast<size_t>(frames); ++i) {
      const auto frame = std::span<const float>(block).subspan(i * channels, channels);
      mono[i] = only > 0 ? frame[static_cast<size_t>(only - 1)] : mean_of(frame);
      if (std::isfinite(mono[i])) continue;
      fail_bad(path, "sample " + std::to_string(held + static_cast<int64_t>(i)) +
                         " is not a finite number; repair or re-export it");
    }
    held += frames;
    sink(std::span(mono).first(static_cast<size_t>(frames)));
  }
  if (const auto missing = missing_frames(audio, held); missing > 0 && held > 0) {
    fail_bad(path, "is cut short: it holds " + std::to_string(held) + " of " + std::to_string(held + missing) +
                       " samples; fetch it again, or re-export what there is");
  }
  return held;
}

void require_near_rates(const std::string& path, int from, int to) {
  constexpr int64_t kLargestRatio = 256;
  if (from <= kLargestRatio * to && to <= kLargestRatio * from) return;
  fail_bad(path, "has " + std::to_string(from) + " Hz, too far from the " + std::to_string(to) +
                     " Hz that are wanted; where the file is wrong, melflow mel --assume-rate HZ reads it");
}

AudioInfo info_of(const OpenAudio& audio, const std::string& path) {
  require_rate(audio, path);
  return {audio.info.samplerate, audio.info.channels, audio.info.frames,
          format_name(audio.file.get(), audio.info.format)};
}

/// Of a recording that holds none.
[[noreturn]] void fail_empty(const OpenAudio& audio, const std::string& path) {
  if (audio.data.untold == 0) fail_bad(path, "holds no samples; give a longer recording");
  fail_bad(path, "says that it holds no samples, and " + std::to_string(audio.data.untold) +
                     " bytes follow: the recording was interrupted; have its header mended (sox --ignore-length)");
}

/// Gives the samples at the rate that is wanted, and returns it.
int give(OpenAudio& audio, const std::string& path, const ReadOptions& options, const SampleSink& sink) {
  if (options.assume_rate == 0) require_rate(audio, path);
  if (options.channel < 0 || options.channel > audio.info.channels)
    fail_bad(path,
             "has " + std::to_string(audio.info.channels) + " channels, no channel " + std::to_string(options.channel));
  // A stream of unknown length carries the largest number there is.
  const bool length_known = audio.info.frames != SF_COUNT_MAX;
  if (length_known && audio.info.frames > options.max_frames) fail_long(path, options.max_frames);
  const int own = options.assume_rate > 0 ? options.assume_rate : audio.info.samplerate;
  const int rate = options.sample_rate > 0 ? options.sample_rate : own;
  require_near_rates(path, own, rate);
  StreamResampler resampler(own, rate);
  std::vector<float> converted;
  int64_t given = 0;
  const auto pass = [&] {
    given += std::ssize(converted);
    if (given > options.max_frames) fail_long(path, options.max_frames);
    sink(converted);
    converted.clear();
  };
  const auto convert = [&](std::span<const float> samples) {
    resampler.push(samples, converted);
    pass();
  };
  if (give_mono(path, audio, options.max_frames, options.channel, convert) == 0) fail_empty(audio, path);
  resampler.finish(converted);
  pass();
  if (given == 0) fail_bad(path, "holds no samples at that rate; give a longer recording");
  return rate;
}

Waveform read_whole(OpenAudio audio, const std::string& path, const ReadOptions& options) {
  Waveform whole;
  try {
    whole.sample_rate = give(audio, path, options, [&](std::span<const float> samples) {
      whole.samples.insert(whole.samples.end(), samples.begin(), samples.end());
    });
  } catch (const std::bad_alloc&) {
    throw too_long_for_memory(path);
  }
  return whole;
}

}  // namespace

Error too_long_for_memory(const std::string& name) {
  return {Exit::unavailable, name + ": is too long for the memory of this machine; cut it into pieces"};
}

AudioInfo audio_info(const std::filesystem::path& path) { return info_of(open_audio(path), path.string()); }

AudioInfo audio_info(std::span<const std::byte> bytes, const std::string& name) {
  BytesFile memory{bytes};
  return info_of(open_audio(memory, name), name);
}

Waveform read_audio(const std::filesystem::path& path, const ReadOptions& options) {
  return read_whole(open_audio(path), path.string(), options);
}

int read_audio(const std::filesystem::path& path, const ReadOptions& options, const SampleSink& sink) {
  auto audio = open_audio(path);
  return give(audio, path.string(), options, sink);
}

Waveform read_audio(std::span<const std::byte> bytes, const std::string& name, const ReadOptions& options) {
  BytesFile memory{bytes};
  return read_whole(open_audio(memory, name), name, options);
}

}  // namespace melflow::audio
