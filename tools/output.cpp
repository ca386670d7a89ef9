#include "tools/output.h"

#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "audio/error.h"
#include "engine/files/npy.h"

namespace melflow::tools {

void write_stdout(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EPIPE) throw ClosedPipe{};
    if (n < 0) throw Error(Exit::io_error, std::string("stdout: cannot be written (") + std::strerror(errno) + ")");
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

SoundOutput::SoundOutput(std::filesystem::path path, const Options& options)
    : path_(std::move(path)), options_(options) {
  const auto kind = path_.extension().string();
  const bool to_stdout = path_ == "-";
  if (!to_stdout && kind != ".wav" && kind != ".flac" && kind != ".raw" && kind != ".pcm" && kind != ".npy") {
    throw Error(Exit::usage, path_.string() + ": outputs end in .wav, .flac, .raw, .pcm or .npy");
  }
  streamed_ = to_stdout || (kind != ".flac" && kind != ".npy");
  if (!to_stdout && streamed_) file_.emplace(path_, options_.existing);
  if (to_stdout ? !options_.raw : kind == ".wav") {
    put(audio::wav_header(options_.sample_rate, options_.encoding, options_.samples));
  }
}

void SoundOutput::put(std::span<const std::byte> bytes) {
  if (file_) {
    file_->write(bytes);
  } else {
    write_stdout(bytes);
  }
}

void SoundOutput::write(std::span<const float> samples) {
  const auto room = static_cast<size_t>(std::max<int64_t>(0, options_.samples - written_));
  samples = samples.first(std::min(samples.size(), room));
  written_ += static_cast<int64_t>(samples.size());
  if (streamed_) {
    put(audio::encode_pcm(samples, options_.encoding));
  } else {
    gathered_.insert(gathered_.end(), samples.begin(), samples.end());
  }
}

void SoundOutput::finish() {
  if (!streamed_ && path_.extension() == ".npy") {
    const int64_t shape[] = {static_cast<int64_t>(gathered_.size())};
    files::write_npy(path_, shape, gathered_, options_.existing);
  } else if (!streamed_) {
    audio::write_audio(path_, {std::move(gathered_), options_.sample_rate}, options_.encoding, options_.existing);
  } else {
    const bool padded = path_.extension() == ".wav" || (path_ == "-" && !options_.raw);
    if (padded && options_.encoding == audio::Encoding::pcm24 && written_ % 2 == 1) {
      put(std::vector<std::byte>(1));  // RIFF chunks have an even length
    }
    if (file_) file_->commit();
  }
}

}  // namespace melflow::tools
