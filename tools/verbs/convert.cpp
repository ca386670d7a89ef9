#include <algorithm>
#include <cstdio>
#include <iostream>

#include <nlohmann/json.hpp>

#include "audio/mel.h"
#include "base/error.h"
#include "base/file_ending.h"
#include "engine/files/float_tensors.h"
#include "engine/files/published_waveglow.h"
#include "engine/files/pytorch_writer.h"
#include "engine/voice.h"
#include "tools/cli/batch.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/cli/shipped_voices.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {
namespace {

namespace fs = std::filesystem;
using Views = std::map<std::string, files::TensorView>;

struct Arguments {
  std::string input, output, to = "voice", name, mix;
  std::vector<std::string> sets;
  double share = 0.5;
  bool force = false, as_json = false, half = false, int8 = false;

  bool to_nvidia() const { return to == "nvidia-state-dict"; }
};

/// What a file for NVIDIA's class cannot say: another family, conditioning or hop, or the first release's swap.
void require_nvidias(const nlohmann::json& model, const std::string& name) {
  const bool fits = model.value("system", "") == "waveglow" && model.value("conditioning", "") == "sample_rate" &&
                    !model.value("swap_odd_halves", false) && model.value("wavenet_dilation_cycle", 0) == 0 &&
                    4 * model.value("hop_length", 256) == model.value("upsample_kernel", 1024);  // as one reads it back
  if (!fits) {
    throw Error(Exit::bad_data, name +
                                    ": is no WaveGlow as NVIDIA's current class has it, so its weights have no "
                                    "meaning there; convert a published WaveGlow instead");
  }
}

/// A matrix that is not in half precision yet.
bool takes_halves(const files::TensorView& view) { return view.dtype == files::Dtype::f32 && view.shape.size() > 1; }

/// Matrices in half precision, vectors as they are: a file of half the size, and block voices compute with such ones.
Views with_halves(const Views& tensors, files::Arrays& made) {
  Views out = tensors;
  for (auto& [key, view] : out) {
    if (takes_halves(view)) view = files::halved(view, key, made);
  }
  return out;
}

/// The weights of a block voice in bytes and powers of two, the rest as with_halves() has it.
Views with_bytes(const Views& tensors, files::Arrays& made) {
  Views rounded = tensors;
  for (auto& [key, view] : rounded) {
    if (view.shape.size() > 1 && key.ends_with(".weight")) view = files::rounded_to_bytes(view, key, made);
  }
  return with_halves(rounded, made);
}

/// The weights of one voice and a share of another's, of which it was trained: what that knew and this forgot, and most
/// of what this learned (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
Views with_share(const engine::VoiceFile& file, const engine::VoiceFile& other, double share, files::Arrays& made) {
  const auto &voice = file.voice(), &others = other.voice();
  const auto recipe = audio::first_difference(others.mel, voice.mel);
  if (voice.model_config != others.model_config || !recipe.empty() || voice.level != others.level) {
    throw Error(Exit::bad_data, others.name + ": cannot be mixed with " + voice.name + ": its " +
                                    (voice.model_config != others.model_config ? "model is another"
                                     : recipe.empty()                          ? "level is another"
                                                                               : "mel recipe is another: " + recipe) +
                                    "; mix a voice with the one that its training began as");
  }
  Views out = file.tensors();
  for (auto& [key, view] : out) view = files::mixed(view, other.tensors().at(key), share, key, made);
  return out;
}

/// What a card must say of a mix: the other voice's licence holds for its share.
void tell_mix(const Arguments& a, const engine::Voice& other, std::map<std::string, std::string>& card) {
  const auto of_other = [&](const char* key) {
    const auto found = other.card.find(key);
    return found == other.card.end() ? std::string() : found->second;
  };
  char share[32];
  std::snprintf(share, sizeof share, "%g of ", a.share);
  const auto add = [&](const char* key, const std::string& more) {
    if (more.empty()) return;
    auto& text = card[key];
    if (text != more) text += (text.empty() ? "" : "; ") + more;
  };
  const auto name = of_other("name");
  add("mixed_with", of_other("mixed_with"));
  add("mixed_with", share + (name.empty() ? one_line(a.mix) : name));
  for (const char* key : {"licence", "training_data"}) {
    if (card[key].empty()) card[key] = "not stated";  // the voice's own, of which the other's says nothing
    add(key, of_other(key));
  }
}

engine::Voice write_own(const Arguments& a, int64_t& numbers) {
  const engine::VoiceFile file(a.input);
  if (!a.to_nvidia() && !a.half && !a.int8 && a.mix.empty()) {
    throw Error(Exit::usage, a.input +
                                 ": is a melflow voice already; --half makes it smaller, --int8 faster, --mix takes a "
                                 "share of another, and --to nvidia-state-dict is the other way");
  }
  if (!a.to_nvidia()) {
    auto voice = file.voice();
    files::Arrays mixed;
    Views tensors = file.tensors();
    if (!a.mix.empty()) {
      const engine::VoiceFile other(a.mix);
      tensors = with_share(file, other, a.share, mixed);
      tell_mix(a, other.voice(), voice.card);
    }
    if (!a.name.empty()) voice.card["name"] = a.name;
    numbers = file.parameters();
    if (a.int8 && !std::holds_alternative<models::BlockFlowOptions>(voice.options())) {
      throw Error(Exit::usage, a.input +
                                   ": --int8 is for voices of the block_flow kind; a WaveGlow has --half, and "
                                   "synth --precision int8");
    }
    if (a.half && std::ranges::none_of(tensors, [](const auto& entry) { return takes_halves(entry.second); })) {
      std::fprintf(stderr, "%s: has its matrices in halves already; the copy is no smaller\n",
                   one_line(a.input).c_str());
    }
    files::Arrays made;
    if (a.int8 || a.half) tensors = (a.int8 ? with_bytes : with_halves)(tensors, made);
    files::write_safetensors(a.output, tensors, engine::voice_metadata(voice), existing(a.force));
    const bool had_halves =
        std::ranges::any_of(file.tensors(), [](const auto& entry) { return entry.second.dtype == files::Dtype::f16; });
    if (!a.mix.empty() && had_halves && !a.half && !a.int8) {
      std::fprintf(stderr, "%s: is in single precision, twice as large; --half leaves a mix as small as it was\n",
                   one_line(a.output).c_str());
    }
    return voice;
  }
  require_nvidias(file.voice().model_config, a.input);
  numbers = file.parameters();
  files::write_state_dict(a.output, files::nvidia_state_dict(file.tensors()), existing(a.force));
  return file.voice();
}

engine::Voice write_published(const Arguments& a, const files::Checkpoint& checkpoint, int64_t& numbers) {
  const auto published = files::read_published_waveglow(checkpoint, a.input);
  std::map<std::string, std::string> told;
  audio::MelOptions tried;  // what is no setting of a recipe is told here, whatever the file stores
  for (const auto& set : a.sets) {
    const auto equals = set.find('=');
    audio::set_mel_option(tried, set.substr(0, equals), set.substr(equals + 1));
    told[set.substr(0, equals)] = set.substr(equals + 1);
  }
  auto voice = engine::published_voice(published, checkpoint.container, a.input, told);
  voice.card["name"] = a.name.empty() ? one_line(fs::path(a.output).stem().string()) : a.name;
  numbers = files::number_count(published.tensors);
  if (a.to_nvidia()) {
    require_nvidias(voice.model_config, a.input);
    files::write_state_dict(a.output, files::nvidia_state_dict(published.tensors), existing(a.force));
  } else {
    files::Arrays made;
    files::write_safetensors(a.output, a.half ? with_halves(published.tensors, made) : published.tensors,
                             engine::voice_metadata(voice), existing(a.force));
  }
  return voice;
}

}  // namespace

int run_convert(CLI::App& app, std::vector<std::string> arguments) {
  Arguments a;
  std::vector<std::string> inputs;
  app.add_option(
      "input", inputs,
      "one file: a published WaveGlow (.pt, .nemo, .safetensors), or a voice with --half, --int8, --mix or --to");
  app.add_option("-o,--out", a.output, "the file to write")->required();
  app.add_option("--to", a.to, "voice: our .safetensors; nvidia-state-dict: a .pt for torch.load(weights_only=True)")
      ->check(CLI::IsMember({"voice", "nvidia-state-dict"}));
  app.add_option("--name", a.name, "the voice's name; by default that of the output");
  app.add_option("--set", a.sets, "key=value of the mel recipe, where the file does not store it: sample_rate=16000");
  app.add_flag("--half", a.half, "matrices in half precision: a voice of half the size, rounded to 11 bits");
  app.add_flag("--int8", a.int8,
               "weights of a block voice rounded to 8 bits and a power of two for each row: it speaks faster");
  app.add_option("--mix", a.mix,
                 "a voice of the same kind, of which --share is taken: the one that a training began as");
  app.add_option("--share", a.share, "of the other voice's weights")->check(within(0.0, 1.0))->capture_default_str();
  app.add_flag("--force", a.force, "replace an existing output");
  app.add_flag("--json", a.as_json, "one JSON object on stdout");
  parse(app, std::move(arguments));
  take_settings(a.sets, inputs, shipped_names());
  if (inputs.size() != 1) throw Error(Exit::usage, "name one file to convert, not " + std::to_string(inputs.size()));
  a.input = named_input(inputs.front());
  if ((a.half || a.int8) && a.to_nvidia()) {
    throw Error(Exit::usage,
                std::string(a.int8 ? "--int8" : "--half") + ": is for voices; leave it out, or take --to voice");
  }
  if (a.to_nvidia())
    refuse_options(app, {"--name", "--set", "--mix"}, "with --to nvidia-state-dict, which stores none");
  if (a.mix.empty()) refuse_options(app, {"--share"}, "without --mix");
  if (!a.mix.empty()) a.mix = find_voice(a.mix).string();
  require_other(a.output, {a.input, a.mix});
  if (!a.to_nvidia() && !has_ending(a.output, ".safetensors")) {
    throw Error(Exit::usage, a.output + ": a voice is a .safetensors file; choose such a name");
  }
  const auto is_pytorch = [&](const char* ending) { return has_ending(a.output, ending); };
  if (a.to_nvidia() && !is_pytorch(".pt") && !is_pytorch(".pth") && !is_pytorch(".ckpt")) {
    throw Error(Exit::usage, a.output + ": a state dictionary is a .pt file; choose such a name");
  }
  const files::CheckpointFile file(a.input);
  int64_t numbers = 0;
  const bool own = engine::is_own_voice(file.content()) && file.content().container == "safetensors";
  if (own) refuse_options(app, {"--set"}, "for a melflow voice, which stores its recipe");
  if (!own) refuse_options(app, {"--mix"}, "for a published WaveGlow; convert it first");
  if (a.int8 && !own) {
    throw Error(Exit::usage,
                a.input + ": --int8 is for voices of the block_flow kind; a published WaveGlow has --half");
  }
  const auto voice = own ? write_own(a, numbers) : write_published(a, file.content(), numbers);
  if (a.as_json) {
    nlohmann::json out{{"input", a.input},      {"output", a.output},          {"to", a.to},
                       {"parameters", numbers}, {"model", voice.model_config}, {"card", voice.card}};
    std::cout << json_text(out) << std::endl;
  } else {
    const auto origin = voice.card.contains("origin") ? voice.card.at("origin") : a.input;
    std::fprintf(stderr, "%s: %lld parameters, %s\n", one_line(a.output).c_str(), static_cast<long long>(numbers),
                 one_line(origin).c_str());
  }
  return 0;
}

}  // namespace melflow::tools
