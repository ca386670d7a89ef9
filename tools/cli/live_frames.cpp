// Frames of live sound: raw PCM on stdin, or a recording device.

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <optional>
#include <thread>

#include "audio/mel_stream.h"
#include "audio/portaudio_io.h"
#include "audio/resample.h"
#include "base/error.h"
#include "tools/cli/frames.h"
#include "tools/cli/signals.h"
#include "tools/cli/stdin_pcm.h"

namespace melflow::tools {
namespace {

/// Samples of a recording device.
class DeviceInput {
 public:
  DeviceInput(const std::string& name, int rate)
      : source_(audio::open_portaudio_source(name, rate)), ring_(static_cast<size_t>(4 * source_->sample_rate())) {
    source_->start(ring_);
  }
  // The source's thread uses the ring.
  ~DeviceInput() {
    if (const auto lost = source_->lost(); lost > 0) {
      std::fprintf(stderr, "%.2f s of what the device heard are lost: this machine is too slow for the voice\n",
                   static_cast<double>(lost) / source_->sample_rate());
    }
    source_.reset();
  }
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
  LiveFrames(const std::string& input, const engine::Voice& voice, const RawFormat& raw)
      : input_(input), mel_(voice.mel) {
    if (input == "-") {
      pcm_.emplace(raw, "live sound");
      rate_ = raw.rate;
    } else {
      device_.emplace(input, voice.mel.sample_rate);
      rate_ = device_->rate();
    }
    resampler_.emplace(rate_, voice.mel.sample_rate);
  }

  bool next(std::vector<float>& frames) override {
    while (!ended_) {
      const bool more = pcm_ ? pcm_->next(samples_) : device_->next(samples_);
      if (!more) return finish(frames);
      count_ += static_cast<double>(samples_.size());
      resampler_->push(samples_, converted_);
      hear(frames);
      if (!frames.empty()) return true;
    }
    return false;
  }
  bool endless() const override { return device_.has_value(); }
  std::optional<int64_t> samples() const override { return ended_ ? std::optional(heard_) : std::nullopt; }
  double seconds_in() const override { return count_ / rate_; }

 private:
  bool finish(std::vector<float>& frames) {
    ended_ = true;
    if (stop_requested() && !endless()) return false;
    resampler_->finish(converted_);
    hear(frames);
    try {
      mel_.finish(frames);
    } catch (const Error& e) {
      throw Error(e.code(), (pcm_ ? std::string("stdin") : input_) + ": " + e.what());
    }
    return !frames.empty();
  }
  /// What has been converted.
  void hear(std::vector<float>& frames) {
    mel_.add(converted_, frames);
    heard_ += std::ssize(converted_);
    converted_.clear();
  }

  std::string input_;
  audio::MelStream mel_;
  std::optional<StdinPcm> pcm_;
  std::optional<DeviceInput> device_;
  std::optional<audio::StreamResampler> resampler_;
  int rate_ = 0;
  bool ended_ = false;
  int64_t heard_ = 0;  // samples, at the voice's rate
  std::atomic<double> count_{0};
  std::vector<float> samples_, converted_;
};

}  // namespace

std::unique_ptr<Frames> live_frames(const std::string& input, const engine::Voice& voice, const RawFormat& raw) {
  return std::make_unique<LiveFrames>(input, voice, raw);
}

}  // namespace melflow::tools
