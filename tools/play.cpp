#include <cstdio>

#include <nlohmann/json.hpp>

#include "audio/error.h"
#include "audio/player.h"
#include "tools/batch.h"
#include "tools/inputs.h"
#include "tools/progress.h"
#include "tools/signals.h"
#include "tools/verbs.h"
#include "tools/voice_options.h"

namespace melflow::tools {

int run_play(CLI::App& app, std::vector<std::string> arguments) {
  std::vector<std::string> inputs;
  VoiceOptions v;
  RawFormat raw;
  std::string device_out;
  app.add_option("inputs", inputs, "mels (.npy, .safetensors) or recordings; - is a mel on stdin")->required();
  v.add_to(app);
  app.add_option("--device-out", device_out, "sound device, by its name or a part of it; melflow devices lists them");
  app.add_option("--rate", raw.rate, "raw PCM on stdin instead of a mel: its rate, Hz");
  app.add_option("--format", raw.format, "raw PCM on stdin: pcm16, pcm24, float32");
  parse(app, std::move(arguments));
  catch_signals();
  // The device first: who has none should not wait for a voice.
  const auto devices = audio::list_devices();
  if (devices.empty()) {
    throw Error(Exit::unavailable, "no sound device; melflow synth writes a file instead");
  }
  auto synthesizer = v.open();
  const auto& recipe = synthesizer.voice().mel;
  return for_each_item(inputs, /*json=*/false, [&](const std::string& input) -> nlohmann::json {
    const auto spoken = read_spoken(input, synthesizer.voice(), raw);
    audio::Player player({.device = device_out, .sample_rate = recipe.sample_rate});
    ProgressLine line;
    synthesizer.run(spoken.mel, engine::Noise(v.seed), [&](std::span<const float> piece) {
      // A second at a time, so that a signal is heard soon.
      const auto second = static_cast<size_t>(recipe.sample_rate);
      for (size_t at = 0; at < piece.size(); at += second) {
        if (stop_requested()) {
          player.stop();
          throw Error(Exit::io_error, "stopped");
        }
        player.push(piece.subspan(at, std::min(second, piece.size() - at)));
        line.show(clock_text(static_cast<double>(player.position()) / recipe.sample_rate));
      }
    });
    player.finish();
    if (player.underruns() > 0) {
      std::fprintf(stderr, "%s: %llu gaps; this machine is too slow for the voice\n", input.c_str(),
                   static_cast<unsigned long long>(player.underruns()));
    }
    return {{"input", input}, {"underruns", player.underruns()}};
  });
}

}  // namespace melflow::tools
