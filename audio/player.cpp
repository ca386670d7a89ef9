#include "audio/player.h"

#include <fcntl.h>
#include <portaudio.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <thread>

#include "audio/error.h"
#include "audio/nearest.h"
#include "audio/playback_core.h"

namespace melflow::audio {
namespace {

using Clock = std::chrono::steady_clock;

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

/// PortAudio is up as long as one of these lives (it counts by itself).
class Library {
 public:
  Library() {
    const std::lock_guard lock(portaudio_mutex());
    const SilencedStderr quiet;
    if (const PaError error = Pa_Initialize(); error != paNoError) {
      throw Error(Exit::unavailable, std::string("sound cannot be played here: ") + Pa_GetErrorText(error));
    }
  }
  ~Library() {
    const std::lock_guard lock(portaudio_mutex());
    const SilencedStderr quiet;
    Pa_Terminate();
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
};

/// What Library's owner may call.
std::vector<std::pair<PaDeviceIndex, OutputDevice>> outputs() {
  std::vector<std::pair<PaDeviceIndex, OutputDevice>> found;
  for (PaDeviceIndex index = 0; index < Pa_GetDeviceCount(); ++index) {
    const PaDeviceInfo* info = Pa_GetDeviceInfo(index);
    if (info == nullptr || info->maxOutputChannels < 1) continue;
    const PaHostApiInfo* api = Pa_GetHostApiInfo(info->hostApi);
    found.push_back({index,
                     {info->name, api != nullptr ? api->name : "", info->maxOutputChannels, info->defaultSampleRate,
                      index == Pa_GetDefaultOutputDevice()}});
  }
  return found;
}

PaDeviceIndex find_device(const std::string& name) {
  const auto devices = outputs();
  if (devices.empty()) {
    throw Error(Exit::unavailable, "no sound device on this machine; write a file with 'melflow synth' instead");
  }
  if (name.empty()) {
    const PaDeviceIndex index = Pa_GetDefaultOutputDevice();
    return index != paNoDevice ? index : devices.front().first;
  }
  const auto exact = std::ranges::find_if(devices, [&](const auto& d) { return d.second.name == name; });
  if (exact != devices.end()) return exact->first;
  const auto part =
      std::ranges::find_if(devices, [&](const auto& d) { return d.second.name.find(name) != std::string::npos; });
  if (part != devices.end()) return part->first;
  std::vector<std::string> names;
  for (const auto& [index, device] : devices) names.push_back(device.name);
  throw Error(Exit::unavailable, "no sound device is called '" + name + "'; did you mean '" + nearest(name, names) +
                                     "'? 'melflow devices' lists them");
}

extern "C" int fill_callback(const void* /*input*/, void* output, unsigned long frames,
                             const PaStreamCallbackTimeInfo* /*time*/, PaStreamCallbackFlags /*flags*/,
                             void* core) noexcept {
  auto& playback = *static_cast<PlaybackCore*>(core);
  playback.fill({static_cast<float*>(output), frames});
  return playback.done() ? paComplete : paContinue;
}

size_t samples_in(double seconds, int sample_rate) { return static_cast<size_t>(std::max(0.0, seconds) * sample_rate); }

}  // namespace

struct Player::Impl {
  explicit Impl(const PlayerOptions& options)
      : core(options.sample_rate, samples_in(options.prebuffer_seconds, options.sample_rate),
             samples_in(std::max(options.buffer_seconds, 2.0 * options.prebuffer_seconds), options.sample_rate)) {
    const PaDeviceIndex device = find_device(options.device);
    const std::lock_guard lock(portaudio_mutex());
    const SilencedStderr quiet;
    PaStreamParameters parameters{};
    parameters.device = device;
    parameters.channelCount = 1;
    parameters.sampleFormat = paFloat32;
    parameters.suggestedLatency = Pa_GetDeviceInfo(device)->defaultHighOutputLatency;
    PaError error = Pa_OpenStream(&stream, nullptr, &parameters, options.sample_rate, paFramesPerBufferUnspecified,
                                  paNoFlag, &fill_callback, &core);
    if (error == paNoError) error = Pa_StartStream(stream);
    if (error == paNoError) return;
    if (stream != nullptr) Pa_CloseStream(stream);
    throw Error(Exit::unavailable, std::string("sound device '") + Pa_GetDeviceInfo(device)->name + "' does not play " +
                                       std::to_string(options.sample_rate) + " Hz: " + Pa_GetErrorText(error) +
                                       "; choose another with --device-out");
  }

  ~Impl() {
    const std::lock_guard lock(portaudio_mutex());
    const SilencedStderr quiet;
    Pa_AbortStream(stream);
    Pa_CloseStream(stream);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  /// Waits a little for the device; throws where it takes nothing for seconds though sound waits.
  void wait() {
    constexpr auto kPoll = std::chrono::milliseconds(3);
    constexpr auto kPatience = std::chrono::seconds(5);
    const uint64_t now = core.position();
    if (now != last_position) {
      last_position = now;
      last_progress = Clock::now();
    }
    const bool stuck = Pa_IsStreamActive(stream) != 1 || Clock::now() - last_progress > kPatience;
    // Asked last: a stream that has played everything is inactive, too.
    if (stuck && !core.done()) {
      throw Error(Exit::unavailable, "the sound device stopped taking sound; was it unplugged?");
    }
    std::this_thread::sleep_for(kPoll);
  }

  Library library;
  PlaybackCore core;
  PaStream* stream = nullptr;
  uint64_t last_position = 0;
  Clock::time_point last_progress;
};

std::vector<OutputDevice> list_devices() {
  const Library library;
  std::vector<OutputDevice> devices;
  for (auto& [index, device] : outputs()) devices.push_back(std::move(device));
  return devices;
}

Player::Player(const PlayerOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Player::~Player() = default;
Player::Player(Player&&) noexcept = default;
Player& Player::operator=(Player&&) noexcept = default;

void Player::push(std::span<const float> samples) {
  impl_->last_progress = Clock::now();
  while (!samples.empty()) {
    const size_t taken = impl_->core.push(samples);
    samples = samples.subspan(taken);
    if (!samples.empty() && taken == 0) impl_->wait();
  }
}

void Player::finish() {
  impl_->core.finish();
  impl_->last_progress = Clock::now();
  while (!impl_->core.done()) impl_->wait();
  // Returns when the device has played what it has taken.
  Pa_StopStream(impl_->stream);
}

void Player::stop() { Pa_AbortStream(impl_->stream); }

uint64_t Player::position() const { return impl_->core.position(); }
uint64_t Player::underruns() const { return impl_->core.underruns(); }

double Player::latency_seconds() const {
  const PaStreamInfo* info = Pa_GetStreamInfo(impl_->stream);
  return info != nullptr ? info->outputLatency : 0.0;
}

}  // namespace melflow::audio
