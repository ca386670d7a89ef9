#include "tools/cli/output.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/file_ending.h"
#include "engine/files/npy.h"
#include "tools/cli/signals.h"

namespace melflow::tools {

void write_stdout(std::span<const std::byte> bytes) {
  constexpr int kPatience = 50;        // ms, after which a signal is looked for
  constexpr size_t kPiece = PIPE_BUF;  // for which there is room where poll() says so
  while (!bytes.empty()) {
    pollfd output{STDOUT_FILENO, POLLOUT, 0};
    while (::poll(&output, 1, kPatience) <= 0) {  // a reader that takes its time
      if (stop_requested()) throw ClosedPipe{};
    }
    const ssize_t n = ::write(STDOUT_FILENO, bytes.data(), std::min(bytes.size(), kPiece));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EPIPE) throw ClosedPipe{};
    if (n < 0) throw Error(Exit::io_error, std::string("stdout: cannot be written (") + std::strerror(errno) + ")");
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void deliver(std::optional<AtomicFile>& file, std::span<const std::byte> bytes) {
  if (!file) return write_stdout(bytes);
  file->write(bytes);
  file->commit();
}

std::optional<AtomicFile> open_output(const std::string& path, bool force) {
  if (path.empty() || path == "-") return std::nullopt;
  return std::make_optional<AtomicFile>(path, existing(force));
}

void require_other(const std::filesystem::path& output, std::initializer_list<std::filesystem::path> inputs) {
  std::error_code error;
  for (const auto& input : inputs) {
    if (!std::filesystem::equivalent(output, input, error) || error) continue;
    throw Error(Exit::usage, output.string() + ": is the input too, which would be lost; name another output");
  }
}

void require_apart(const char* option, const std::filesystem::path& output, const char* other_option,
                   const std::filesystem::path& other) {
  if (output.empty() || other.empty() || output == "-") return;
  if (std::filesystem::absolute(output).lexically_normal() != std::filesystem::absolute(other).lexically_normal())
    return;
  throw Error(Exit::usage, std::string(option) + " and " + other_option + " name one file; give each its own");
}

void require_ending(const char* option, const std::string& output, const char* ending) {
  if (output.empty() || has_ending(output, ending)) return;
  throw Error(Exit::usage, std::string(option) + " " + output + ": choose a name that ends in " + ending);
}

SoundOutput::SoundOutput(std::filesystem::path path, const Options& options)
    : path_(std::move(path)), options_(options) {
  kind_ = path_ == "-" ? (options_.raw ? Kind::raw : Kind::wav) : kind_of(path_);
  if (path_ != "-") file_.emplace(path_, options_.existing);
  if (kind_ == Kind::flac) flac_.emplace(*file_, options_.sample_rate, options_.encoding);
  put(header(options_.samples));
}

SoundOutput::Kind SoundOutput::kind_of(const std::filesystem::path& path) {
  for (const auto& [ending, kind] : {std::pair{".wav", Kind::wav},
                                     {".flac", Kind::flac},
                                     {".raw", Kind::raw},
                                     {".pcm", Kind::raw},
                                     {".npy", Kind::npy}}) {
    if (has_ending(path.native(), ending)) return kind;
  }
  throw Error(Exit::usage, path.string() + ": outputs end in .wav, .flac, .raw, .pcm or .npy");
}

/// What a file of so many samples begins with, of the same length for any number; -1: nobody knows yet.
std::vector<std::byte> SoundOutput::header(int64_t samples) const {
  if (kind_ == Kind::wav) return audio::wav_header(options_.sample_rate, options_.encoding, samples);
  if (kind_ != Kind::npy) return {};
  const int64_t shape[] = {std::max<int64_t>(samples, 0)};
  return files::npy_header(shape);
}

void SoundOutput::put(std::span<const std::byte> bytes) {
  if (file_) {
    file_->write(bytes);
  } else {
    write_stdout(bytes);
  }
}

void SoundOutput::write(std::span<const float> samples) {
  if (options_.samples >= 0) {
    const auto room = static_cast<size_t>(std::max<int64_t>(0, options_.samples - written_));
    samples = samples.first(std::min(samples.size(), room));
  }
  written_ += static_cast<int64_t>(samples.size());
  if (kind_ != Kind::npy && options_.encoding != audio::Encoding::float32) {
    clipped_ += std::ranges::count_if(samples, [](float s) { return std::abs(s) > 1; });
  }
  if (flac_) {
    flac_->write(samples);
  } else if (kind_ == Kind::npy) {
    put(std::as_bytes(samples));
  } else {
    put(audio::encode_pcm(samples, options_.encoding));
  }
}

void SoundOutput::finish() {
  if (flac_) flac_->finish();
  if (kind_ == Kind::wav && options_.encoding == audio::Encoding::pcm24 && written_ % 2 == 1) {
    put(std::vector<std::byte>(1));  // RIFF chunks have an even length
  }
  if (!file_) return;
  if (written_ != options_.samples) put_length();
  file_->commit();
}

/// The header of a file can be put right at the end; one that is too long for WAV's numbers stays endless.
void SoundOutput::put_length() {
  if (kind_ == Kind::wav && written_ > audio::wav_most_samples(options_.encoding)) return;
  const auto bytes = header(written_);
  if (::pwrite(file_->descriptor(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw Error(Exit::io_error, path_.string() + ": cannot be written (" + std::strerror(errno) + ")");
  }
}

}  // namespace melflow::tools
