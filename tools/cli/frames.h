#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "engine/synth/synthesizer.h"
#include "tools/cli/inputs.h"

namespace melflow::tools {

/// Mel frames that arrive while sound is being made of those before.
class Frames {
 public:
  virtual ~Frames() = default;
  /// Waits for at least one frame and appends all that are there, [count, n_mels] frame after frame. False at the end,
  /// and after a signal. Throws Error{bad_data, io_error, unavailable}.
  virtual bool next(std::vector<float>& frames) = 0;
  /// True where only a signal ends them, which is no fault then: a recording device.
  virtual bool endless() const { return false; }
  /// How many samples the sound has that they are of; known at their end, of live sound.
  virtual std::optional<int64_t> samples() const { return std::nullopt; }
  /// Seconds of live sound that have come in; 0 for frames from a pipe.
  virtual double seconds_in() const { return 0.0; }
};

/// Frames on stdin, as docs/FORMATS.md says: raw float32 frames or .npy; what cannot be cut into frames before its end
/// (.npy in C order [n_mels, frames], .safetensors) is read to its end first.
std::unique_ptr<Frames> stdin_frames(const engine::Voice& voice);

/// Frames of live sound: raw PCM on stdin ("-", as `raw` says) or a recording device by its name.
std::unique_ptr<Frames> live_frames(const std::string& input, const engine::Voice& voice, const RawFormat& raw);

/// What the command line says about sound to come: either of the above, or neither.
struct StreamOptions {
  bool stream = false;
  std::string live_in;

  /// True where frames arrive; the sound of whole mels leaves as it is computed anyway.
  bool asked(const std::vector<std::string>& inputs) const {
    return !live_in.empty() || (stream && inputs == std::vector<std::string>{"-"});
  }
  /// Throws Error{usage} for options of the sort that say nothing of these inputs.
  void refuse_unused(const CLI::App& app, const std::vector<std::string>& inputs, const RawFormat& raw) const;
  /// The frames that `inputs` and these options mean. Throws Error{usage}.
  std::unique_ptr<Frames> open(const std::vector<std::string>& inputs, const engine::Voice& voice,
                               const RawFormat& raw) const;
};

using SoundSink = engine::Synthesizer::Sink;

/// Frames → sound, as they come, and as long as the sound that they are of. Returns early after a signal, but for
/// endless frames, whose end a signal is.
void speak(Frames& frames, int n_mels, engine::Stream& voice, const SoundSink& sink);

}  // namespace melflow::tools
