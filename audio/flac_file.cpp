#include "audio/flac_file.h"

#include <sndfile.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "audio/sndfile_open.h"
#include "base/error.h"

namespace melflow::audio {

/// libsndfile writes through these, so that every failure is seen by AtomicFile, and kept until C code is left.
struct FlacFile::Impl {
  AtomicFile* file;
  Encoding encoding;
  SNDFILE* encoder = nullptr;
  sf_count_t position = 0, size = 0;
  std::exception_ptr failure = nullptr;
  std::vector<int32_t> numbers{};

  ~Impl() {
    if (encoder != nullptr) sf_close(encoder);
  }

  static Impl& of(void* self) { return *static_cast<Impl*>(self); }
  static sf_count_t length(void* self) { return of(self).size; }
  static sf_count_t tell(void* self) { return of(self).position; }
  static sf_count_t seek(sf_count_t offset, int whence, void* self) {
    const sf_count_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? tell(self) : length(self);
    return of(self).position = std::max<sf_count_t>(0, base + offset);
  }
  static sf_count_t read(void*, sf_count_t, void*) { return 0; }
  static sf_count_t write(const void* source, sf_count_t count, void* self) { return of(self).put(source, count); }

  /// At the end, or over what is there: the encoder puts the length and the digest into its header when it closes.
  sf_count_t put(const void* source, sf_count_t count) noexcept {
    const auto over = std::clamp<sf_count_t>(size - position, 0, count);
    try {
      if (over > 0 && ::pwrite(file->descriptor(), source, static_cast<size_t>(over), position) != over) {
        throw Error(Exit::io_error, file->target().string() + ": cannot be written (" + std::strerror(errno) + ")");
      }
      file->write({static_cast<const std::byte*>(source) + over, static_cast<size_t>(count - over)});
    } catch (...) {
      failure = std::current_exception();
      return 0;
    }
    position += count;
    size = std::max(size, position);
    return count;
  }

  void check(bool done) const {
    if (failure) std::rethrow_exception(failure);
    if (!done) throw Error(Exit::internal, file->target().string() + ": the FLAC encoder failed");
  }
};

FlacFile::FlacFile(AtomicFile& file, int sample_rate, Encoding encoding)
    : impl_(new Impl{.file = &file, .encoding = encoding}) {
  const auto name = file.target().string();
  if (encoding == Encoding::float32) {
    throw Error(Exit::usage, name + ": FLAC holds no float32; use .wav, or --encoding pcm16 or pcm24");
  }
  SF_VIRTUAL_IO io{&Impl::length, &Impl::seek, &Impl::read, &Impl::write, &Impl::tell};
  SF_INFO info{};
  info.samplerate = sample_rate;
  info.channels = 1;
  info.format = SF_FORMAT_FLAC | (encoding == Encoding::pcm16 ? SF_FORMAT_PCM_16 : SF_FORMAT_PCM_24);
  std::string why;
  impl_->encoder = open_sndfile([&] { return sf_open_virtual(&io, SFM_WRITE, &info, impl_.get()); }, why);
  if (impl_->encoder == nullptr) {
    throw Error(Exit::cannot_create, name + ": cannot be written as FLAC: " + why);
  }
}

FlacFile::~FlacFile() = default;

void FlacFile::write(std::span<const float> samples) {
  constexpr size_t kBlock = 1 << 16;
  const size_t width = impl_->encoding == Encoding::pcm16 ? 2 : 3;
  for (; !samples.empty(); samples = samples.subspan(std::min(kBlock, samples.size()))) {
    // Whole numbers of our own rounding in the upper bits of int32, where libsndfile looks for them.
    const std::vector<std::byte> pcm = encode_pcm(samples.first(std::min(kBlock, samples.size())), impl_->encoding);
    auto& numbers = impl_->numbers;
    numbers.assign(pcm.size() / width, 0);
    for (size_t i = 0; i < numbers.size(); ++i) {
      std::memcpy(reinterpret_cast<std::byte*>(&numbers[i]) + (4 - width), pcm.data() + i * width, width);
    }
    const auto count = static_cast<sf_count_t>(numbers.size());
    impl_->check(sf_writef_int(impl_->encoder, numbers.data(), count) == count);
  }
}

void FlacFile::finish() {
  auto* const encoder = std::exchange(impl_->encoder, nullptr);
  impl_->check(sf_close(encoder) == 0);
}

}  // namespace melflow::audio
