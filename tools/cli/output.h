#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "audio/flac_file.h"
#include "audio/sound_file.h"
#include "base/atomic_file.h"

namespace melflow::tools {

/// What --force says of files that are there.
inline AtomicFile::Existing existing(bool force) {
  return force ? AtomicFile::Existing::replace : AtomicFile::Existing::refuse;
}

/// Throws Error{usage} where `output` is the very file that one of `inputs` is, which writing would lose.
void require_other(const std::filesystem::path& output, std::initializer_list<std::filesystem::path> inputs);

/// Throws Error{usage} where two outputs that are asked for are one file.
void require_apart(const char* option, const std::filesystem::path& output, const char* other_option,
                   const std::filesystem::path& other);

/// Throws Error{usage} for the file of an option that does not end so: whose name would promise what it is not, or is
/// that of something else. Nothing where none is named.
void require_ending(const char* option, const std::string& output, const char* ending);

/// Thrown where the reader of stdout has closed the pipe: no failure of ours, the program ends quietly.
struct ClosedPipe {};

/// Opened before the work, so that a name that is taken or a folder that is missing is told at once. Nothing for "" and
/// "-". Throws as AtomicFile does.
std::optional<AtomicFile> open_output(const std::string& path, bool force);

/// All bytes to standard output. Throws Error{io_error}, or ClosedPipe.
void write_stdout(std::span<const std::byte> bytes);

/// All bytes to what open_output() opened, or to standard output where that is nothing. Throws as both do.
void deliver(std::optional<AtomicFile>& file, std::span<const std::byte> bytes);

/// Sound on its way to a file or to stdout ("-"), as it is computed: WAV, FLAC, raw PCM, or .npy of the exact float32
/// samples, by extension. A file appears under its name when finish() has returned. A WAV to a pipe whose length nobody
/// knows says so by the largest length that its header can hold, and players play to the end of the pipe.
class SoundOutput {
 public:
  struct Options {
    int sample_rate = 22050;
    audio::Encoding encoding = audio::Encoding::pcm16;
    bool raw = false;      ///< stdout: no header
    int64_t samples = -1;  ///< how many will come; negative: nobody knows yet
    AtomicFile::Existing existing = AtomicFile::Existing::refuse;
  };
  /// Throws Error{usage} for an extension that is none of these and where samples are too many for the format,
  /// Error{cannot_create} where the file cannot be made.
  SoundOutput(std::filesystem::path path, const Options& options);
  /// The next samples, in [-1, 1], clipped where the encoding needs it. Throws Error{io_error}, or ClosedPipe.
  void write(std::span<const float> samples);
  /// Throws as write() does; without it the file is not there.
  void finish();
  /// Samples so far beyond full scale, in an encoding that clips them.
  int64_t clipped() const { return clipped_; }

 private:
  void put(std::span<const std::byte> bytes);
  enum class Kind { wav, flac, raw, npy };
  static Kind kind_of(const std::filesystem::path& path);
  std::vector<std::byte> header(int64_t samples) const;
  void put_length();

  std::filesystem::path path_;
  Options options_;
  Kind kind_ = Kind::wav;
  std::optional<AtomicFile> file_;       // none: stdout
  std::optional<audio::FlacFile> flac_;  // into file_
  int64_t written_ = 0, clipped_ = 0;
};

}  // namespace melflow::tools
