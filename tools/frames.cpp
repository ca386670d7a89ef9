#include "tools/frames.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <optional>
#include <thread>

#include "audio/error.h"
#include "audio/mel_stream.h"
#include "audio/portaudio_io.h"
#include "audio/stream_resampler.h"
#include "audio/wav.h"
#include "engine/files/mel_file.h"
#include "engine/files/npy_header.h"
#include "tools/signals.h"

namespace melflow::tools {
namespace {

static_assert(std::endian::native == std::endian::little, "frames are copied as they lie in memory");

/// Appends what has arrived on stdin, at least a byte; false at its end and after a signal.
bool read_some(std::vector<std::byte>& bytes) {
  constexpr int kPatience = 50;  // ms, after which a signal is looked for
  constexpr size_t kBlock = 1 << 16;
  for (;;) {
    if (stop_requested()) return false;
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

class StdinFrames : public Frames {
 public:
  explicit StdinFrames(const engine::Voice& voice)
      : voice_(voice), bands_(static_cast<size_t>(voice.mel.n_mels)), frame_bytes_(bands_ * sizeof(float)) {}

  bool next(std::vector<float>& frames) override {
    if (!begun_ && !begin(frames)) return !frames.empty();
    while (!ended_ && bytes_.size() < frame_bytes_) {
      if (!read_some(bytes_)) ended_ = true;
    }
    const size_t whole = bytes_.size() / frame_bytes_;
    if (stop_requested() || whole == 0) {
      check_end();
      return false;
    }
    append(whole, frames);
    return true;
  }

 private:
  /// Looks at the first bytes. False where everything has been read already.
  bool begin(std::vector<float>& frames) {
    begun_ = true;
    constexpr size_t kPrefix = 12;
    while (bytes_.size() < kPrefix && !ended_) ended_ = !read_some(bytes_);
    const auto is = [&](const char* text, size_t at, size_t length) {
      return bytes_.size() >= at + length && std::memcmp(bytes_.data() + at, text, length) == 0;
    };
    const bool npy = is("\x93NUMPY", 0, 6);
    const bool safetensors = is("\0\0\0\0{", 4, 5);  // its header is shorter than 4 GiB
    if (npy && skip_npy_header()) return true;
    if (!npy && !safetensors) return true;
    while (!ended_) ended_ = !read_some(bytes_);
    if (stop_requested()) return false;
    const auto mel = files::parse_mel(bytes_, "stdin", voice_.mel.n_mels);
    engine::require_same_recipe(mel, voice_, "stdin");
    frames.resize(mel.values.size());
    for (size_t m = 0; m < bands_; ++m) {
      for (size_t t = 0; t < static_cast<size_t>(mel.frames); ++t) {
        frames[t * bands_ + m] = mel.values[m * static_cast<size_t>(mel.frames) + t];
      }
    }
    bytes_.clear();
    count_ = static_cast<size_t>(mel.frames);
    return false;
  }

  /// True where the array lies frame after frame; its header is then gone and the frames that it promises are known.
  bool skip_npy_header() {
    const auto byte = [&](size_t at) { return std::to_integer<size_t>(bytes_[at]); };
    const bool first_version = byte(6) == 1;
    const size_t start = first_version ? 10 : 12;
    const size_t length = byte(8) + (byte(9) << 8) + (first_version ? 0 : (byte(10) << 16) + (byte(11) << 24));
    constexpr size_t kMost = 65536;
    if (byte(6) > 3 || length > kMost) return false;  // the parser of whole files says what is wrong
    while (bytes_.size() < start + length && !ended_) ended_ = !read_some(bytes_);
    if (bytes_.size() < start + length) return false;
    const auto header =
        files::parse_npy_header({reinterpret_cast<const char*>(bytes_.data()) + start, length}, "stdin");
    if (header.descr != "<f4" || header.shape.size() != 2) return false;
    const auto bands = static_cast<int64_t>(bands_);
    const bool by_frame =
        header.fortran_order ? header.shape[0] == bands : header.shape[1] == bands && header.shape[0] != bands;
    if (!by_frame) return false;
    promised_ = static_cast<size_t>(header.shape[header.fortran_order ? 1 : 0]);
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(start + length));
    return true;
  }

  void append(size_t count, std::vector<float>& frames) {
    const size_t before = frames.size();
    frames.resize(before + count * bands_);
    std::memcpy(frames.data() + before, bytes_.data(), count * frame_bytes_);
    for (size_t i = before; i < frames.size(); ++i) {
      if (std::isfinite(frames[i])) continue;
      throw Error(Exit::bad_data, "stdin: frame " + std::to_string(count_ + (i - before) / bands_) +
                                      " holds NaN or infinity; frames are " + std::to_string(bands_) +
                                      " float32 numbers each");
    }
    count_ += count;
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(count * frame_bytes_));
    if (promised_ && count_ > *promised_) {
      throw Error(Exit::bad_data, "stdin: more frames than the .npy header says (" + std::to_string(*promised_) + ")");
    }
  }

  void check_end() const {
    if (stop_requested()) return;
    if (!bytes_.empty()) {
      throw Error(Exit::bad_data, "stdin: ends within frame " + std::to_string(count_) + ": " +
                                      std::to_string(bytes_.size()) + " bytes of " + std::to_string(frame_bytes_) +
                                      "; frames are " + std::to_string(bands_) + " float32 numbers each");
    }
    if (promised_ && count_ < *promised_) {
      throw Error(Exit::bad_data, "stdin: ends after " + std::to_string(count_) + " of " + std::to_string(*promised_) +
                                      " frames that the .npy header says");
    }
    if (count_ == 0) throw Error(Exit::bad_data, "stdin: holds no frame");
  }

  const engine::Voice& voice_;
  size_t bands_, frame_bytes_;
  bool begun_ = false, ended_ = false;
  std::vector<std::byte> bytes_;
  size_t count_ = 0;                // frames that came out
  std::optional<size_t> promised_;  // by a .npy header
};

/// Raw PCM on stdin, as samples. False at its end.
class PcmInput {
 public:
  explicit PcmInput(const RawFormat& raw) : encoding_(audio::encoding_from_name(raw.format)) {
    width_ = audio::encode_pcm(std::vector<float>{0.0f}, encoding_).size();
  }
  bool next(std::vector<float>& samples) {
    while (bytes_.size() < width_) {
      if (read_some(bytes_)) continue;
      if (!bytes_.empty() && !stop_requested()) {
        throw Error(Exit::bad_data, "stdin: ends within a sample, which takes " + std::to_string(width_) + " bytes");
      }
      return false;
    }
    const size_t whole = bytes_.size() / width_ * width_;
    samples = audio::decode_pcm({bytes_.data(), whole}, encoding_);
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(whole));
    if (!std::ranges::all_of(samples, [](float s) { return std::isfinite(s); })) {
      throw Error(Exit::bad_data, "stdin: holds NaN or infinity");
    }
    return true;
  }

 private:
  audio::Encoding encoding_;
  size_t width_;
  std::vector<std::byte> bytes_;
};

/// Samples of a recording device.
class DeviceInput {
 public:
  DeviceInput(const std::string& name, int rate)
      : source_(audio::open_portaudio_source(name, rate)), ring_(static_cast<size_t>(4 * source_->sample_rate())) {
    source_->start(ring_);
  }
  // The source's thread uses the ring.
  ~DeviceInput() { source_.reset(); }
  DeviceInput(const DeviceInput&) = delete;
  DeviceInput& operator=(const DeviceInput&) = delete;

  int rate() const { return source_->sample_rate(); }
  bool next(std::vector<float>& samples) {
    while (ring_.size() == 0) {
      if (stop_requested()) return false;
      if (!source_->alive()) throw Error(Exit::unavailable, "the recording device stopped; was it unplugged?");
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    samples.resize(ring_.size());
    samples.resize(ring_.pop(samples));
    return true;
  }

 private:
  std::unique_ptr<audio::Source> source_;
  audio::RingBuffer ring_;
};

class LiveFrames : public Frames {
 public:
  LiveFrames(const std::string& input, const engine::Voice& voice, const RawFormat& raw) : mel_(voice.mel) {
    if (input == "-") {
      if (raw.rate <= 0 || raw.format.empty()) {
        throw Error(Exit::usage, "-: live sound on stdin needs --rate HZ and --format pcm16, pcm24 or float32");
      }
      pcm_.emplace(raw);
      rate_ = raw.rate;
    } else {
      device_.emplace(input, voice.mel.sample_rate);
      rate_ = device_->rate();
    }
    if (rate_ != voice.mel.sample_rate) resampler_.emplace(rate_, voice.mel.sample_rate);
  }

  bool next(std::vector<float>& frames) override {
    while (!ended_) {
      const bool more = pcm_ ? pcm_->next(samples_) : device_->next(samples_);
      if (!more) return finish(frames);
      count_ += static_cast<double>(samples_.size());
      if (resampler_) {
        converted_.clear();
        resampler_->push(samples_, converted_);
        converted_.swap(samples_);
      }
      mel_.add(samples_, frames);
      if (!frames.empty()) return true;
    }
    return false;
  }
  double seconds_in() const override { return count_ / rate_; }

 private:
  bool finish(std::vector<float>& frames) {
    ended_ = true;
    if (stop_requested()) return false;
    if (resampler_) {
      converted_.clear();
      resampler_->finish(converted_);
      mel_.add(converted_, frames);
    }
    mel_.finish(frames);
    return !frames.empty();
  }

  audio::MelStream mel_;
  std::optional<PcmInput> pcm_;
  std::optional<DeviceInput> device_;
  std::optional<audio::StreamResampler> resampler_;
  int rate_ = 0;
  bool ended_ = false;
  std::atomic<double> count_{0};
  std::vector<float> samples_, converted_;
};

}  // namespace

std::unique_ptr<Frames> stdin_frames(const engine::Voice& voice) { return std::make_unique<StdinFrames>(voice); }

std::unique_ptr<Frames> live_frames(const std::string& input, const engine::Voice& voice, const RawFormat& raw) {
  return std::make_unique<LiveFrames>(input, voice, raw);
}

std::unique_ptr<Frames> StreamOptions::open(const std::vector<std::string>& inputs, const engine::Voice& voice,
                                            const RawFormat& raw) const {
  if (!live_in.empty()) {
    if (!inputs.empty()) throw Error(Exit::usage, "--live-in takes the place of the inputs; give one or the other");
    return live_frames(live_in, voice, raw);
  }
  return raw.format.empty() ? stdin_frames(voice) : live_frames("-", voice, raw);
}

void speak(Frames& frames, int n_mels, engine::Stream& voice, const SoundSink& sink) {
  // A pipe that is full holds seconds; the first sample should not wait for all of them.
  constexpr size_t kMostAtOnce = 16;
  const size_t most = kMostAtOnce * static_cast<size_t>(n_mels);
  std::vector<float> batch, piece;
  while (frames.next(batch)) {
    for (size_t at = 0; at < batch.size(); at += most) {
      voice.add(std::span(batch).subspan(at, std::min(most, batch.size() - at)), piece);
      if (!piece.empty()) sink(piece);
      piece.clear();
    }
    batch.clear();
  }
  if (stop_requested()) return;
  voice.finish(piece);
  if (!piece.empty()) sink(piece);
}

void require_finite(std::span<const float> samples, const std::string& input, const std::string& voice) {
  if (std::ranges::all_of(samples, [](float s) { return std::isfinite(s); })) return;
  throw Error(Exit::bad_data, input + ": voice " + voice + " makes samples that are not finite");
}

}  // namespace melflow::tools
