#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_ending.h"
#include "engine/data/clips.h"
#include "engine/device.h"
#include "engine/eval/score.h"
#include "engine/files/npy.h"
#include "engine/files/picture.h"
#include "engine/kernels/thread_team.h"
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
  bool as_json = false, force = false, own_level = false, rank = false;
  int threads = 0;
};

/// Of several inputs.
void require_one_input(const ScoreArguments& a, size_t count) {
  for (const auto& [option, value] : {std::pair{"--mel", a.mel}, {"--dump-z", a.dump_z}, {"--plot", a.plot}}) {
    if (value.empty()) continue;
    throw Error(Exit::usage, std::string(option) + ": takes one recording, " + std::to_string(count) + " were named");
  }
}

ScoreArguments score_arguments(CLI::App& app, std::vector<std::string> arguments) {
  ScoreArguments a;
  app.add_option("inputs", a.inputs, "recordings, any format, any rate; or folders of them, and of .tar shards")
      ->required();
  add_voice(app, a.voice);
  app.add_option(
      "--mel", a.mel,
      "take the mel from this .npy or .safetensors file, and the recording as loud as it is; one recording only");
  app.add_option("--dump-z", a.dump_z, "write the noise that the recording maps to, .npy [group, groups]");
  app.add_option("--plot", a.plot, "draw the recording's mel and, below it, nats per sample of each frame, .png");
  app.add_flag("--json", a.as_json, "one object per recording, with nats per sample of every frame");
  app.add_flag("--rank", a.rank,
               "those first whose noise is farthest from what the voice expects: damaged, or no speech");
  app.add_flag("--own-level", a.own_level, "take recordings as loud as they are, not at the voice's level");
  app.add_option("--device", a.device, "cpu or cuda");
  add_threads(app, a.threads);
  app.add_flag("--force", a.force, "overwrite what --dump-z and --plot name");
  parse(app, std::move(arguments));
  require_ending("--dump-z", a.dump_z, ".npy");
  require_ending("--plot", a.plot, ".png");
  return a;
}

/// What is to be scored, by the names that messages call it: files as they were named, and all that folders and
/// archives hold.
class Inputs {
 public:
  Inputs(const std::vector<std::string>& named, int workers) {
    for (const auto& input : named) {
      std::error_code unknown;
      if (!std::filesystem::is_directory(input, unknown) && !has_ending(input, ".tar")) {
        names.push_back(input);
        continue;
      }
      corpora_.push_back(std::make_unique<engine::Clips>(engine::list_clips({input}, workers)));
      const auto& clips = *corpora_.back();
      refused.insert(refused.end(), clips.refused.begin(), clips.refused.end());
      for (const auto& place : clips.places) {
        names.push_back(clips.name(place));
        places_[names.back()] = {&clips, &place};
      }
    }
  }

  engine::Recording read(const std::string& name, const ScoreArguments& a, const engine::ModelVoice& voice) const {
    const auto loudness = a.own_level ? engine::Loudness::own : engine::Loudness::of_voice;
    if (const auto found = places_.find(name); found != places_.end()) {
      return engine::read_recording(*found->second.first, *found->second.second, voice, loudness);
    }
    require_recording(name);
    if (!a.mel.empty()) return engine::read_recording(name, voice, std::filesystem::path(a.mel));
    return engine::read_recording(name, voice, loudness);
  }

  std::vector<std::string> names, refused;

 private:
  std::vector<std::unique_ptr<engine::Clips>> corpora_;
  std::map<std::string, std::pair<const engine::Clips*, const engine::ClipPlace*>> places_;
};

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

void print_line(const json& item, double frames_a_second) {
  // Where the voice is most surprised is what one looks for first.
  const auto& frames = item["per_frame"];
  const auto worst = std::max_element(frames.begin(), frames.end());
  char text[240];
  std::snprintf(text, sizeof text, ": %.4f nats per sample (loss %.4f), mean z² %.2f, %zu frames, worst %.4f at %.2f s",
                item["nats_per_sample"].get<double>(), item["loss"].get<double>(), item["noise_power"].get<double>(),
                frames.size(), worst->get<double>(), static_cast<double>(worst - frames.begin()) / frames_a_second);
  std::cout << one_line(item["input"].get<std::string>()) << text << std::endl;
}

/// The lines of for_each_item, those first whose mean z² is farthest from 1, what failed last.
void print_ranked(std::istream& lines, bool as_json, double frames_a_second) {
  std::vector<std::pair<double, json>> items;
  for (std::string line; std::getline(lines, line);) {
    auto item = json::parse(line);
    const double far = item.contains("error") ? -1 : std::abs(std::log(item["noise_power"].get<double>()));
    items.emplace_back(far, std::move(item));
  }
  std::ranges::stable_sort(items, std::greater<>(), &std::pair<double, json>::first);
  for (const auto& [far, item] : items) {
    if (as_json) {
      std::cout << json_text(item) << std::endl;
    } else if (far >= 0) {
      print_line(item, frames_a_second);
    }
  }
}

json score_one(const std::string& input, const Inputs& inputs, const ScoreArguments& a,
               const engine::ModelVoice& voice) {
  // First, so that a name that is taken is told before the work.
  for (const auto& output : {a.dump_z, a.plot}) require_other(output, {input, a.mel, find_voice(a.voice)});
  auto dump = open_output(a.dump_z, a.force), plot = open_output(a.plot, a.force);
  const auto recording = inputs.read(input, a, voice);
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
  return as_item(input, recording, score);
}

}  // namespace

int run_score(CLI::App& app, std::vector<std::string> arguments) {
  const auto a = score_arguments(app, std::move(arguments));
  use_threads(a.threads);
  const Inputs inputs(a.inputs, engine::threads_for(a.threads));
  if (inputs.names.size() > 1) require_one_input(a, inputs.names.size());
  const auto device = engine::open_device(a.device);
  const auto voice = engine::load_voice(find_voice(a.voice));
  voice.model->to(device);
  catch_signals("stopping when this recording is scored; once more: at once");
  for (const auto& refused : inputs.refused) std::cerr << "melflow score: " << refused << "\n";
  const double frames_a_second = static_cast<double>(voice.mel.sample_rate) / voice.mel.hop_length;
  std::stringstream held;
  const int code = for_each_item(inputs.names, a.rank ? &held : json_stream(a.as_json), [&](const std::string& input) {
    auto item = score_one(input, inputs, a, voice);
    if (!a.as_json && !a.rank) print_line(item, frames_a_second);
    return item;
  });
  if (a.rank) print_ranked(held, a.as_json, frames_a_second);
  return code != 0 || inputs.refused.empty() ? code : static_cast<int>(Exit::some_failed);
}

}  // namespace melflow::tools
