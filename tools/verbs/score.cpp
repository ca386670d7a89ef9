#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <optional>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_ending.h"
#include "engine/device.h"
#include "engine/eval/score.h"
#include "engine/files/npy.h"
#include "engine/files/picture.h"
#include "engine/model_voice.h"
#include "engine/tensors.h"
#include "tools/cli/batch.h"
#include "tools/cli/inputs.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/cli/shipped_voices.h"
#include "tools/cli/signals.h"
#include "tools/cli/with_torch.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {
namespace {

using nlohmann::json;

struct ScoreArguments {
  std::string voice, mel, dump_z, plot, device = "cpu";
  std::vector<std::string> inputs;
  bool as_json = false, force = false, own_level = false;
  int threads = 0;
};

ScoreArguments score_arguments(CLI::App& app, std::vector<std::string> arguments) {
  ScoreArguments a;
  app.add_option("inputs", a.inputs, "recordings, any format, any rate")->required();
  add_voice(app, a.voice);
  app.add_option(
      "--mel", a.mel,
      "take the mel from this .npy or .safetensors file, and the recording as loud as it is; one recording only");
  app.add_option("--dump-z", a.dump_z, "write the noise that the recording maps to, .npy [group, groups]");
  app.add_option("--plot", a.plot, "draw the recording's mel and, below it, nats per sample of each frame, .png");
  app.add_flag("--json", a.as_json, "one object per recording, with nats per sample of every frame");
  app.add_flag("--own-level", a.own_level, "take recordings as loud as they are, not at the voice's level");
  app.add_option("--device", a.device, "cpu or cuda");
  add_threads(app, a.threads);
  app.add_flag("--force", a.force, "overwrite what --dump-z and --plot name");
  parse(app, std::move(arguments));
  for (const auto& [option, value] : {std::pair{"--mel", a.mel}, {"--dump-z", a.dump_z}, {"--plot", a.plot}}) {
    if (a.inputs.size() > 1 && !value.empty()) {
      throw Error(Exit::usage,
                  std::string(option) + ": takes one recording, " + std::to_string(a.inputs.size()) + " were named");
    }
  }
  require_ending("--dump-z", a.dump_z, ".npy");
  require_ending("--plot", a.plot, ".png");
  return a;
}

engine::Recording read_input(const std::string& input, const ScoreArguments& a, const engine::ModelVoice& voice) {
  require_recording(input);
  if (!a.mel.empty()) return engine::read_recording(input, voice, std::filesystem::path(a.mel));
  return engine::read_recording(input, voice, a.own_level ? engine::Loudness::own : engine::Loudness::of_voice);
}

json as_item(const std::string& input, const engine::Recording& recording, const engine::Score& score) {
  return {{"input", input},
          {"nats_per_sample", score.nats_per_sample},
          {"loss", score.loss},
          {"noise_power", score.noise_power},
          {"frames", score.per_frame.size()},
          {"seconds", recording.sound.seconds()},
          {"gain", recording.gain},
          {"per_frame", score.per_frame}};
}

void print_line(const std::string& input, const engine::Score& score, double frames_a_second) {
  // Where the voice is most surprised is what one looks for first.
  const auto worst = std::max_element(score.per_frame.begin(), score.per_frame.end());
  char text[200];
  std::snprintf(text, sizeof text, ": %.4f nats per sample (loss %.4f), %zu frames, worst %.4f at %.2f s",
                score.nats_per_sample, score.loss, score.per_frame.size(), static_cast<double>(*worst),
                static_cast<double>(worst - score.per_frame.begin()) / frames_a_second);
  std::cout << one_line(input) << text << std::endl;
}

json score_one(const std::string& input, const ScoreArguments& a, const engine::ModelVoice& voice) {
  // First, so that a name that is taken is told before the work.
  for (const auto& output : {a.dump_z, a.plot}) require_other(output, {input, a.mel, find_voice(a.voice)});
  auto dump = open_output(a.dump_z, a.force), plot = open_output(a.plot, a.force);
  const auto recording = read_input(input, a, voice);
  const auto score = engine::score(*voice.model, engine::whole_frames(recording.sound, voice.model->hop_length()),
                                   engine::mel_tensor(recording.mel));
  if (!std::isfinite(score.nats_per_sample)) {
    throw Error(Exit::bad_data, input + ": voice " + voice.name + " has no density of it in single precision");
  }
  if (dump) {
    const std::array<int64_t, 2> shape{score.z.size(0), score.z.size(1)};
    dump->write(files::npy_bytes(shape, engine::tensor_vector(score.z)));
    dump->commit();
  }
  if (plot) {
    plot->write(files::png_bytes(files::spectrogram_with_curve(recording.mel, score.per_frame)));
    plot->commit();
  }
  if (!a.as_json) print_line(input, score, static_cast<double>(voice.mel.sample_rate) / voice.mel.hop_length);
  return as_item(input, recording, score);
}

}  // namespace

int run_score(CLI::App& app, std::vector<std::string> arguments) {
  const auto a = score_arguments(app, std::move(arguments));
  use_threads(a.threads);
  const auto device = engine::open_device(a.device);
  const auto voice = engine::load_voice(find_voice(a.voice));
  voice.model->to(device);
  catch_signals("stopping when this recording is scored; once more: at once");
  return for_each_item(a.inputs, json_stream(a.as_json),
                       [&](const std::string& input) { return score_one(input, a, voice); });
}

}  // namespace melflow::tools
