#include "tools/cli/frames.h"

#include <algorithm>

#include "base/error.h"
#include "tools/cli/batch.h"
#include "tools/cli/options.h"
#include "tools/cli/signals.h"

namespace melflow::tools {

void StreamOptions::refuse_unused(const CLI::App& app, const std::vector<std::string>& inputs,
                                  const RawFormat& raw) const {
  if (!live_in.empty()) refuse_options(app, {"--stream"}, "with --live-in, which is a stream");
  if (!inputs.empty() && !reads_stdin(inputs)) refuse_options(app, {"--stream"}, "but for frames on stdin");
  if (!reads_stdin(inputs) && live_in != "-") refuse_options(app, {"--rate", "--format"}, "but for raw PCM on stdin");
  if ((raw.rate > 0) != !raw.format.empty()) {
    throw Error(Exit::usage, "--rate and --format: raw PCM on stdin needs both");
  }
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
  int64_t given = 0;
  const auto give = [&] {
    // The last frame reaches beyond the end of what was heard.
    const auto left = frames.samples() ? std::max<int64_t>(0, *frames.samples() - given) : std::ssize(piece);
    piece.resize(static_cast<size_t>(std::min<int64_t>(std::ssize(piece), left)));
    if (!piece.empty()) sink(piece);
    given += std::ssize(piece);
    piece.clear();
  };
  while (frames.next(batch)) {
    for (size_t at = 0; at < batch.size(); at += most) {
      voice.add(std::span(batch).subspan(at, std::min(most, batch.size() - at)), piece);
      give();
    }
    batch.clear();
  }
  if (stop_requested() && !frames.endless()) return;
  voice.finish(piece);
  give();
}

}  // namespace melflow::tools
