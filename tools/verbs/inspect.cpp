#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <span>

#include <nlohmann/json.hpp>

#include "audio/refine.h"
#include "base/error.h"
#include "engine/files/checkpoint_file.h"
#include "engine/files/file_kind.h"
#include "engine/files/inflate.h"
#include "engine/files/npy.h"
#include "engine/files/published_waveglow.h"
#include "engine/files/sha256.h"
#include "engine/files/shown_name.h"
#include "engine/files/zip_reader.h"
#include "engine/voice.h"
#include "tools/cli/batch.h"
#include "tools/cli/options.h"
#include "tools/cli/shipped_voices.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {
namespace {

using nlohmann::json;

json tensor_table(const files::Checkpoint& checkpoint) {
  json table = json::array();
  for (const auto& [name, tensor] : checkpoint.tensors) {
    table.push_back({{"name", name}, {"dtype", files::name_of(tensor.dtype)}, {"shape", tensor.shape}});
  }
  return table;
}

/// Beside each row the SHA-256 of its numbers, little-endian in C order. Tensors may share a storage: `most` bounds
/// what is read in all.
void add_sums(const files::Checkpoint& checkpoint, uint64_t most, const std::string& input, json& table) {
  uint64_t read = 0;
  auto row = table.begin();
  for (const auto& [name, tensor] : checkpoint.tensors) {
    files::Arrays made;  // gone again before the next tensor
    const auto bytes = files::in_c_order(tensor, made).bytes;
    read += bytes.size();
    if (read > most) throw Error(Exit::bad_data, input + ": its tensors share storages beyond measure");
    (*row++)["sha256"] = files::sha256_hex(bytes);
  }
}

/// What a voice would do for a listener: how far it looks ahead, and so how late it speaks.
json voice_facts(const engine::Voice& voice, int64_t parameters) {
  const auto options = voice.options();
  const double frame_ms = 1e3 * static_cast<double>(voice.mel.hop_length) / voice.mel.sample_rate;
  const auto lookahead = engine::reach(options).lookahead_frames;
  auto first = engine::first_sample_frames(options);
  if (voice.refine > 0) {
    first += engine::frames_behind(options, audio::RefineOptions::of(voice.mel, voice.refine).delay);
  }
  return {{"model", voice.model_config},
          {"parameters", parameters},
          {"lookahead_frames", lookahead},
          {"lookahead_ms", static_cast<double>(lookahead) * frame_ms},
          {"first_sample_frames", first},  // that must be there before it leaves
          {"first_sample_ms", static_cast<double>(first) * frame_ms},
          {"level", voice.level},
          {"sigma", voice.sigma},
          {"draws", voice.draws},
          {"refine", voice.refine},
          {"card", voice.card}};
}

void inspect_checkpoint(const files::Checkpoint& checkpoint, const std::string& input, json& out) {
  const auto& metadata = checkpoint.metadata;
  if (metadata.contains("melflow_format_version")) {
    out["layout"] = "melflow voice";
    const engine::VoiceFile file(input);
    out["voice"] = voice_facts(file.voice(), file.parameters());
  } else if (files::waveglow_path(checkpoint.tensors)) {
    const auto published = files::read_published_waveglow(checkpoint, input);
    out["layout"] = published.layout;
    const auto voice = engine::published_voice(published, checkpoint.container, input);
    out["voice"] = voice_facts(voice, files::number_count(published.tensors));
  } else if (checkpoint.tensors.size() == 1 && checkpoint.tensors.begin()->first.empty()) {
    out["layout"] = "one tensor";
  } else {
    out["layout"] = metadata.contains("melflow_flow_version") ? "melflow flow"
                    : checkpoint.tensors.contains("mel")      ? "mel"
                    : metadata.contains("train_state")        ? "checkpoint of a training run"
                                                              : "unknown";
  }
}

/// Least and largest of the numbers, and how many are NaN or infinity.
void add_range(std::span<const float> values, json& out) {
  float least = std::numeric_limits<float>::infinity(), most = -least;
  int64_t finite = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    ++finite;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  if (finite > 0) out["range"] = {least, most};
  out["not_finite"] = static_cast<int64_t>(values.size()) - finite;
}

/// Of a NumPy array, whose numbers are read as float32.
json array_row(const files::NpyArray& array, bool sum) {
  json row{{"shape", array.shape}};
  if (sum) row["sha256"] = files::sha256_hex(std::as_bytes(std::span(array.values)));
  return row;
}

/// NumPy's .npz: true where it was one.
bool inspect_npz(std::span<const std::byte> bytes, const std::string& input, bool sums, json& out) {
  const auto members = files::parse_zip(bytes, input);
  const bool arrays = !members.empty() && std::all_of(members.begin(), members.end(), [](const auto& member) {
    return member.first.ends_with(".npy");
  });
  if (!arrays) return false;
  out["container"] = "npz";
  for (const auto& [name, member] : members) {
    const auto made = member.deflated ? files::inflate_member(member, input) : std::vector<std::byte>{};
    const auto array = files::parse_npy(member.deflated ? std::span<const std::byte>(made) : member.stored, input);
    auto row = array_row(array, sums);
    row["name"] = name.substr(0, name.size() - 4);
    row["dtype"] = "array";
    out["tensors"].push_back(std::move(row));
  }
  return true;
}

/// The file as far as it can be read; "refused" says why it would not be opened, where it would not.
json inspect(const std::string& input, bool sums) {
  json out{{"file", input}};
  const files::MappedFile file(input);
  const auto kind = files::kind_of(file.bytes());
  if (kind == files::FileKind::npy) {
    out["container"] = "npy";
    const auto array = files::parse_npy(file.bytes(), input);
    out.update(array_row(array, sums));
    add_range(array.values, out);
    return out;
  }
  if (kind == files::FileKind::zip && inspect_npz(file.bytes(), input, sums, out)) return out;
  const auto checkpoint = files::parse_checkpoint(file.bytes(), input, files::Unknown::list);
  out["container"] = checkpoint.container;
  out["metadata"] = checkpoint.metadata;
  out["facts"] = checkpoint.facts;
  out["globals"] = checkpoint.globals;
  out["tensors"] = tensor_table(checkpoint);
  if (sums) add_sums(checkpoint, files::inflated_limit(file.bytes().size()), input, out["tensors"]);
  if (!checkpoint.refused.empty()) {
    std::string names;
    for (const auto& name : checkpoint.refused) names += (names.empty() ? "" : ", ") + files::shown_name(name);
    out["refused"] = input + ": its pickle names " + names +
                     ", not among the plain types that are read; nothing in it was run; "
                     "save the weights alone: torch.save(model.state_dict(), FILE)";
    return out;
  }
  try {
    inspect_checkpoint(checkpoint, input, out);
  } catch (const Error& e) {
    out["refused"] = e.what();
  }
  return out;
}

void print(const json& out) {
  std::cout << one_line(out["file"].get<std::string>()) << ": " << out["container"].get<std::string>();
  if (out.contains("layout")) std::cout << ", " << out["layout"].get<std::string>();
  std::cout << "\n";
  if (out.contains("shape")) std::cout << "  shape " << out["shape"].dump() << "\n";
  if (out.contains("sha256")) std::cout << "  sha256 " << out["sha256"].get<std::string>() << "\n";
  if (out.contains("range")) std::cout << "  from " << out["range"][0] << " to " << out["range"][1] << "\n";
  if (out.value("not_finite", 0) > 0) std::cout << "  NaN or infinity: " << out["not_finite"] << "\n";
  if (out.contains("voice")) {
    for (const auto& [key, value] : out["voice"].items()) std::cout << "  " << key << ": " << json_text(value) << "\n";
  }
  for (const std::string group : {"metadata", "facts"}) {
    const auto entries = out.value(group, json::object());
    for (const auto& [key, value] : entries.items()) {
      std::cout << "  " << group << " " << files::shown_name(key) << ": " << files::shown_name(value.get<std::string>())
                << "\n";
    }
  }
  const auto tensors = out.value("tensors", json::array());
  for (const auto& t : tensors) {
    std::cout << "  " << files::shown_name(t["name"].get<std::string>()) << "  " << t["dtype"].get<std::string>() << " "
              << t["shape"].dump() << (t.contains("sha256") ? " " + t["sha256"].get<std::string>() : "") << "\n";
  }
}

}  // namespace

int run_inspect(CLI::App& app, std::vector<std::string> arguments) {
  std::vector<std::string> inputs;
  bool as_json = false, sums = false;
  app.add_option("files", inputs, "voices, mels, checkpoints, arrays")->required();
  app.add_flag("--json", as_json, "one JSON object a file");
  app.add_flag("--sha256", sums,
               "the SHA-256 of each tensor's numbers, little-endian in C order; of NumPy arrays as float32");
  parse(app, std::move(arguments));
  size_t refused = 0;
  const int result = for_each_item(inputs, json_stream(as_json), [&](const std::string& input) {
    auto out = inspect(named_input(input).string(), sums);
    if (!as_json) print(out);
    if (out.contains("refused")) {
      std::cout.flush();
      std::cerr << "melflow: " << out["refused"].get<std::string>() << "\n";
      ++refused;
    }
    return out;
  });
  if (refused == 0 || result != 0) return result;
  return static_cast<int>(inputs.size() == 1 ? Exit::bad_data : Exit::some_failed);
}

}  // namespace melflow::tools
