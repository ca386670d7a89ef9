#pragma once

#include <memory>
#include <string>
#include <vector>

#include "audio/sink.h"
#include "audio/source.h"

namespace melflow::audio {

struct SoundDevice {
  std::string name;
  std::string host_api;      ///< "ALSA", "JACK Audio Connection Kit"
  int channels = 0;          ///< in the direction asked for
  double sample_rate = 0.0;  ///< the device's own, Hz
  bool is_default = false;
};

/// Devices that sound can be played to; empty where there is none.
std::vector<SoundDevice> list_devices();
/// Devices that sound can be recorded from.
std::vector<SoundDevice> list_input_devices();

/// A sound device by its name or a part of it; empty: the default. It runs at `rate` where it can, else at its own.
/// Mono. Throws Error{unavailable}.
std::unique_ptr<Sink> open_portaudio_sink(const std::string& name, int rate, bool low_latency);
std::unique_ptr<Source> open_portaudio_source(const std::string& name, int rate);

}  // namespace melflow::audio
