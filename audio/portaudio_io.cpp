#include "audio/portaudio_io.h"

#include <fcntl.h>
#include <portaudio.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <thread>

#include "audio/quiet_threads.h"
#include "base/error.h"
#include "base/nearest.h"

namespace melflow::audio {
namespace {

/// PortAudio's start, stop and opening are not thread-safe.
std::mutex& portaudio_mutex() {
  static std::mutex mutex;
  return mutex;
}

/// Sends standard error nowhere for a moment: ALSA and JACK print dozens of lines about devices that nobody asked for.
class SilencedStderr {
 public:
  SilencedStderr() {
    std::fflush(stderr);
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0) return;
    saved_ = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (saved_ >= 0) ::dup2(nowhere, STDERR_FILENO);
    ::close(nowhere);
  }
  ~SilencedStderr() {
    if (saved_ < 0) return;
    ::dup2(saved_, STDERR_FILENO);
    ::close(saved_);
  }
  SilencedStderr(const SilencedStderr&) = delete;
  SilencedStderr& operator=(const SilencedStderr&) = delete;

 private:
  int saved_ = -1;
};

/// What every call of PortAudio that opens or closes needs: one at a time, and quietly.
struct Quietly {
  std::lock_guard<std::mutex> lock{portaudio_mutex()};
  SilencedStderr silence;
};

/// PortAudio is up as long as one of these lives (it counts by itself).
class Library {
 public:
  Library() {
    install_quiet_stderr();
    const Quietly quietly;
    if (const PaError error = Pa_Initialize(); error != paNoError) {
      throw Error(Exit::unavailable, std::string("sound cannot be played here: ") + Pa_GetErrorText(error));
    }
  }
  ~Library() {
    const Quietly quietly;
    Pa_Terminate();
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
};

enum class Direction { out, in };

/// What Library's owner may call.
std::vector<std::pair<PaDeviceIndex, SoundDevice>> devices(Direction direction) {
  std::vector<std::pair<PaDeviceIndex, SoundDevice>> found;
  const bool out = direction == Direction::out;
  for (PaDeviceIndex index = 0; index < Pa_GetDeviceCount(); ++index) {
    const PaDeviceInfo* info = Pa_GetDeviceInfo(index);
    if (info == nullptr) continue;
    const int channels = out ? info->maxOutputChannels : info->maxInputChannels;
    if (channels < 1) continue;
    const PaHostApiInfo* api = Pa_GetHostApiInfo(info->hostApi);
    found.push_back({index,
                     {info->name, api != nullptr ? api->name : "", channels, info->defaultSampleRate,
                      index == (out ? Pa_GetDefaultOutputDevice() : Pa_GetDefaultInputDevice())}});
  }
  return found;
}

PaDeviceIndex find_device(const std::string& name, Direction direction) {
  const auto all = devices(direction);
  if (all.empty()) {
    throw Error(Exit::unavailable,
                direction == Direction::out
                    ? "no sound device on this machine; write a file with 'melflow synth' instead"
                    : "no device to record from on this machine; give raw PCM on stdin with --live-in -");
  }
  if (name.empty()) {
    const auto standard = std::ranges::find_if(all, [](const auto& d) { return d.second.is_default; });
    return standard != all.end() ? standard->first : all.front().first;
  }
  const auto exact = std::ranges::find_if(all, [&](const auto& d) { return d.second.name == name; });
  if (exact != all.end()) return exact->first;
  const auto part =
      std::ranges::find_if(all, [&](const auto& d) { return d.second.name.find(name) != std::string::npos; });
  if (part != all.end()) return part->first;
  std::vector<std::string> names;
  for (const auto& [index, device] : all) names.push_back(device.name);
  throw Error(Exit::unavailable,
              "no sound device is called '" + name + "'" + suggestion(name, names) + "; 'melflow devices' lists them");
}

/// A stream of one channel of float32, in one direction.
class Stream {
 public:
  Stream(const std::string& name, int rate, Direction direction, bool low_latency) : direction_(direction) {
    device_ = find_device(name, direction);
    const PaDeviceInfo* info = Pa_GetDeviceInfo(device_);
    name_ = info->name;
    parameters_.device = device_;
    parameters_.channelCount = 1;
    parameters_.sampleFormat = paFloat32;
    if (direction == Direction::out) {
      parameters_.suggestedLatency = low_latency ? info->defaultLowOutputLatency : info->defaultHighOutputLatency;
    } else {
      parameters_.suggestedLatency = low_latency ? info->defaultLowInputLatency : info->defaultHighInputLatency;
    }
    const Quietly quietly;
    const bool out = direction == Direction::out;
    const auto* in_parameters = out ? nullptr : &parameters_;
    const auto* out_parameters = out ? &parameters_ : nullptr;
    const bool supported = Pa_IsFormatSupported(in_parameters, out_parameters, rate) == paFormatIsSupported;
    rate_ = supported ? rate : static_cast<int>(std::lround(info->defaultSampleRate));
  }
  ~Stream() { close(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  int rate() const { return rate_; }
  void start(PaStreamCallback* callback, void* user) {
    PaError error = paNoError;
    {
      const Quietly quietly;
      const bool out = direction_ == Direction::out;
      // Neither dither nor clipping: what a device of 16 bits gets is a function of the samples alone.
      error = Pa_OpenStream(&stream_, out ? nullptr : &parameters_, out ? &parameters_ : nullptr, rate_,
                            paFramesPerBufferUnspecified, paDitherOff, callback, user);
      if (error == paNoError) error = Pa_StartStream(stream_);
    }
    if (error == paNoError) return;
    close();
    throw Error(Exit::unavailable, "sound device '" + name_ + "' does not open at " + std::to_string(rate_) +
                                       " Hz: " + Pa_GetErrorText(error) + "; 'melflow devices' lists the others");
  }
  bool active() const { return stream_ != nullptr && Pa_IsStreamActive(stream_) == 1; }
  double output_latency() const {
    const PaStreamInfo* info = stream_ != nullptr ? Pa_GetStreamInfo(stream_) : nullptr;
    return info != nullptr ? info->outputLatency : 0.0;
  }
  /// Waits until what the callback gave has been heard.
  void drain() {
    if (stream_ != nullptr) Pa_StopStream(stream_);
  }
  void close() {
    if (stream_ == nullptr) return;
    const Quietly quietly;
    Pa_AbortStream(stream_);
    Pa_CloseStream(stream_);
    stream_ = nullptr;
  }

 private:
  Library library_;
  Direction direction_;
  PaDeviceIndex device_ = paNoDevice;
  std::string name_;
  PaStreamParameters parameters_{};
  int rate_ = 0;
  PaStream* stream_ = nullptr;
};

class PortAudioSink : public Sink {
 public:
  PortAudioSink(const std::string& name, int rate, bool low_latency)
      : stream_(name, rate, Direction::out, low_latency) {}
  int sample_rate() const override { return stream_.rate(); }
  void start(PlaybackCore& core) override {
    core_ = &core;
    stream_.start(&PortAudioSink::callback, this);
  }
  bool alive() const override { return stream_.active(); }
  double latency_seconds() const override { return stream_.output_latency(); }
  uint64_t late_calls() const override { return late_calls_.load(std::memory_order_relaxed); }
  void drain() override {
    // Through ALSA's PulseAudio plug-in, stopping loses the last 25 ms (seen with 16.1): so what is lost is the silence
    // that follows the sound.
    constexpr double kTail = 0.1, kPatience = 1.0;  // seconds
    const double seconds = latency_seconds() + kTail;
    const uint64_t enough = core_->filled() + static_cast<uint64_t>(seconds * sample_rate());
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds + kPatience);
    while (alive() && core_->filled() < enough && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
    stream_.drain();
  }
  void abort() override { stream_.close(); }

 private:
  static int callback(const void* /*input*/, void* output, unsigned long frames,
                      const PaStreamCallbackTimeInfo* /*time*/, PaStreamCallbackFlags flags, void* user) noexcept {
    quiet_this_thread();
    auto& sink = *static_cast<PortAudioSink*>(user);
    if ((flags & paOutputUnderflow) != 0) sink.late_calls_.fetch_add(1, std::memory_order_relaxed);
    sink.core_->fill({static_cast<float*>(output), frames});
    return paContinue;
  }

  PlaybackCore* core_ = nullptr;
  std::atomic<uint64_t> late_calls_{0};
  Stream stream_;  // the last: it is closed before what its callback uses
};

class PortAudioSource : public Source {
 public:
  PortAudioSource(const std::string& name, int rate) : stream_(name, rate, Direction::in, /*low_latency=*/true) {}
  int sample_rate() const override { return stream_.rate(); }
  void start(RingBuffer& ring) override {
    ring_ = &ring;
    stream_.start(&PortAudioSource::callback, this);
  }
  bool alive() const override { return stream_.active(); }
  uint64_t lost() const override { return lost_.load(std::memory_order_relaxed); }

 private:
  static int callback(const void* input, void* /*output*/, unsigned long frames,
                      const PaStreamCallbackTimeInfo* /*time*/, PaStreamCallbackFlags /*flags*/, void* user) noexcept {
    quiet_this_thread();
    auto& source = *static_cast<PortAudioSource*>(user);
    const size_t taken = source.ring_->push({static_cast<const float*>(input), frames});
    source.lost_.fetch_add(frames - taken, std::memory_order_relaxed);
    return paContinue;
  }

  RingBuffer* ring_ = nullptr;
  std::atomic<uint64_t> lost_{0};
  Stream stream_;
};

std::vector<SoundDevice> list(Direction direction) {
  const Library library;
  std::vector<SoundDevice> found;
  for (auto& [index, device] : devices(direction)) found.push_back(std::move(device));
  return found;
}

}  // namespace

std::vector<SoundDevice> list_devices() { return list(Direction::out); }
std::vector<SoundDevice> list_input_devices() { return list(Direction::in); }

std::unique_ptr<Sink> open_portaudio_sink(const std::string& name, int rate, bool low_latency) {
  return std::make_unique<PortAudioSink>(name, rate, low_latency);
}

std::unique_ptr<Source> open_portaudio_source(const std::string& name, int rate) {
  return std::make_unique<PortAudioSource>(name, rate);
}

}  // namespace melflow::audio
