#include "engine/files/mel_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/file_ending.h"
#include "engine/files/file_kind.h"
#include "engine/files/mapped_file.h"
#include "engine/files/npy.h"
#include "engine/files/pytorch_file.h"
#include "engine/files/safetensors.h"
#include "engine/files/shown_name.h"
#include "engine/files/zip_reader.h"

namespace melflow::files {
namespace {

using nlohmann::json;
constexpr int64_t kMaxMels = 4096;
constexpr const char* kTensorName = "mel";
constexpr const char* kRecipeKey = "mel_recipe";

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": " + what);
}

/// [n_mels, frames] or [1, n_mels, frames] → the two sizes, with every limit checked before anything is allocated.
std::pair<int, int> sizes_of(const std::vector<int64_t>& shape, int expected_mels, const std::string& name) {
  const bool batched = shape.size() == 3 && shape[0] == 1;
  if (shape.size() != 2 && !batched) {
    refuse(name, "an array of shape " + shape_text(shape) + " is no mel; give [n_mels, frames]");
  }
  const int64_t mels = shape[shape.size() - 2], frames = shape[shape.size() - 1];
  if (mels == 0 || frames == 0) refuse(name, "the mel is empty (shape " + shape_text(shape) + "); compute it again");
  const bool transposed =
      expected_mels > 0 ? mels != expected_mels && frames == expected_mels : mels > kMaxMels && frames <= kMaxMels;
  if (transposed) {
    refuse(name, "the array is transposed: [frames, n_mels] = " + shape_text(shape) + "; save array.T instead");
  }
  if (expected_mels > 0 && mels != expected_mels) {
    refuse(name, "it has " + std::to_string(mels) + " mels, and " + std::to_string(expected_mels) +
                     " are needed; compute it with the voice's recipe");
  }
  if (mels > kMaxMels) refuse(name, "it has " + std::to_string(mels) + " mels, more than 4096; check the array");
  if (frames > kMostMelFrames) refuse(name, "it has " + std::to_string(frames) + " frames, more than 2^20; split it");
  return {static_cast<int>(mels), static_cast<int>(frames)};
}

void require_finite(std::span<const std::byte> values, int frames_of_mel, const std::string& name) {
  constexpr size_t kBlock = 1 << 20;  // numbers, after which a file's need not stay in memory
  const size_t count = values.size() / sizeof(float), frames = static_cast<size_t>(frames_of_mel);
  for (size_t i = 0; i < count; ++i) {
    float value;
    std::memcpy(&value, values.data() + i * sizeof value, sizeof value);
    if (!std::isfinite(value)) {
      refuse(name, std::string(std::isnan(value) ? "NaN" : "infinity") + " at mel " + std::to_string(i / frames) +
                       ", frame " + std::to_string(i % frames) + "; compute the mel again");
    }
    if ((i + 1) % kBlock == 0) let_go(values.first((i + 1) * sizeof value));
  }
}

audio::Mel mel_from_npy(std::span<const std::byte> bytes, const std::string& name, int expected_mels) {
  NpyArray array = parse_npy(bytes, name);
  const auto [mels, frames] = sizes_of(array.shape, expected_mels, name);
  return {mels, frames, std::move(array.values), std::nullopt};
}

/// Sizes, recipe, and the tensor where it lies, of whatever type.
std::pair<MelView, Dtype> tensor_in_safetensors(std::span<const std::byte> bytes, const std::string& name,
                                                int expected_mels) {
  const SafetensorsContent content = parse_safetensors(bytes, name);
  const auto found = content.tensors.find(kTensorName);
  if (found == content.tensors.end()) {
    refuse(name, content.tensors.empty()
                     ? "it holds no tensor; give a mel file"
                     : "it holds no tensor 'mel' (but " + shown_name(content.tensors.begin()->first) +
                           "); is this a voice rather than a mel?");
  }
  const auto [mels, frames] = sizes_of(found->second.shape, expected_mels, name);
  MelView mel{mels, frames, found->second.bytes, std::nullopt};
  if (const auto recipe = content.metadata.find(kRecipeKey); recipe != content.metadata.end()) {
    mel.recipe = recipe_from_json(recipe->second, name);
    if (mel.recipe->n_mels != mels) {
      refuse(name, "its recipe says " + std::to_string(mel.recipe->n_mels) + " mels, its array has " +
                       std::to_string(mels) + "; compute it again");
    }
  }
  return {std::move(mel), found->second.dtype};
}

audio::Mel mel_from_safetensors(std::span<const std::byte> bytes, const std::string& name, int expected_mels) {
  auto [view, dtype] = tensor_in_safetensors(bytes, name, expected_mels);
  auto values = as_float32({dtype, {view.n_mels, view.frames}, view.values}, name + ": tensor 'mel'");
  return {view.n_mels, view.frames, std::move(values), std::move(view.recipe)};
}

/// numpy.savez: a zip of .npy members. One array, or the one named "mel".
audio::Mel mel_from_npz(const std::map<std::string, ZipMember>& members, const std::string& name, int expected_mels) {
  auto chosen = members.find(std::string(kTensorName) + ".npy");
  if (chosen == members.end() && members.size() == 1) chosen = members.begin();
  if (chosen == members.end()) {
    refuse(name, "it holds " + std::to_string(members.size()) +
                     " arrays and none is named mel; save the mel as numpy.savez(FILE, mel=array)");
  }
  if (!chosen->second.deflated) {
    check_crc(chosen->second, chosen->second.stored, name);
    return mel_from_npy(chosen->second.stored, name, expected_mels);
  }
  return mel_from_npy(inflate_member(chosen->second, name), name, expected_mels);
}

/// NVIDIA's tools: torch.save(mel), a tensor; or a dictionary with one tensor, or one named "mel".
audio::Mel mel_from_pytorch(std::span<const std::byte> bytes, const std::string& name, int expected_mels) {
  auto content = parse_pytorch(bytes, name);
  auto& tensors = content.tensors;
  auto chosen = std::find_if(tensors.begin(), tensors.end(), [](const auto& t) { return t.first == kTensorName; });
  if (chosen == tensors.end() && tensors.size() == 1) chosen = tensors.begin();
  if (chosen == tensors.end()) {
    refuse(name, "it holds " + std::to_string(tensors.size()) +
                     " tensors and none is named mel; is this a voice rather than a mel?");
  }
  const auto [mels, frames] = sizes_of(chosen->second.shape, expected_mels, name);
  Arrays made;
  return {mels, frames, as_float32(in_c_order(chosen->second, made), name), std::nullopt};
}

/// Both kinds of zip archive: NumPy's holds .npy members, PyTorch's a pickle.
audio::Mel mel_from_zip(std::span<const std::byte> bytes, const std::string& name, int expected_mels) {
  const auto members = parse_zip(bytes, name);
  const bool arrays = !members.empty() && std::all_of(members.begin(), members.end(), [](const auto& member) {
    return member.first.ends_with(".npy");
  });
  return arrays ? mel_from_npz(members, name, expected_mels) : mel_from_pytorch(bytes, name, expected_mels);
}

/// A flat JSON object as (key, text); numbers keep the digits that were written.
class FlatObject : public nlohmann::json_sax<json> {
 public:
  std::vector<std::pair<std::string, std::string>> fields;
  std::string problem;

  bool start_object(size_t) override { return depth_++ == 0 || wrong("holds an object within the object"); }
  bool end_object() override { return true; }
  bool key(std::string& text) override {
    if (!seen_.insert(text).second) return wrong("names " + shown_name(text) + " twice");
    fields.emplace_back(text, "");
    return true;
  }
  bool null() override { return wrong("holds null"); }
  bool boolean(bool value) override { return put(value ? "true" : "false"); }
  bool number_integer(int64_t value) override { return put(std::to_string(value)); }
  bool number_unsigned(uint64_t value) override { return put(std::to_string(value)); }
  bool number_float(double, const std::string& digits) override { return put(digits); }
  bool string(std::string& text) override { return put(text); }
  bool binary(json::binary_t&) override { return wrong("holds binary data"); }
  bool start_array(size_t) override { return wrong("holds a list"); }
  bool end_array() override { return true; }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return wrong("is not JSON");
  }

 private:
  bool put(const std::string& text) {
    if (fields.empty()) return wrong("is not an object");
    fields.back().second = text;
    return true;
  }
  bool wrong(const std::string& what) {
    if (problem.empty()) problem = what;
    return false;
  }
  int depth_ = 0;
  std::set<std::string> seen_;
};

}  // namespace

audio::Mel parse_mel(std::span<const std::byte> bytes, const std::string& name, int expected_mels) {
  audio::Mel mel;
  switch (kind_of(bytes)) {
    case FileKind::npy:
      mel = mel_from_npy(bytes, name, expected_mels);
      break;
    case FileKind::safetensors:
      mel = mel_from_safetensors(bytes, name, expected_mels);
      break;
    case FileKind::zip:
      mel = mel_from_zip(bytes, name, expected_mels);
      break;
    case FileKind::pickle:
      mel = mel_from_pytorch(bytes, name, expected_mels);
      break;
    case FileKind::gzip:
    case FileKind::tar:
    case FileKind::unknown:
      refuse(name, "it is neither .npy, .npz, .pt nor .safetensors; make a mel with `melflow mel` or numpy.save");
  }
  require_finite(std::as_bytes(std::span(mel.values)), mel.frames, name);
  return mel;
}

std::optional<MelView> view_mel(std::span<const std::byte> bytes, const std::string& name, int expected_mels) {
  std::optional<MelView> mel;
  const auto kind = kind_of(bytes);
  if (kind == FileKind::npy) {
    if (const auto array = view_npy(bytes, name)) {
      const auto [mels, frames] = sizes_of(array->shape, expected_mels, name);
      mel = {mels, frames, array->values, std::nullopt};
    }
  } else if (kind == FileKind::safetensors) {
    auto [view, dtype] = tensor_in_safetensors(bytes, name, expected_mels);
    if (dtype == Dtype::f32) mel = std::move(view);
  }
  if (mel) require_finite(mel->values, mel->frames, name);
  return mel;
}

audio::Mel read_mel(const std::filesystem::path& path, int expected_mels) {
  const MappedFile file(path);
  return parse_mel(file.bytes(), path.string(), expected_mels);
}

void write_mel(const std::filesystem::path& path, const audio::Mel& mel, AtomicFile::Existing existing) {
  const std::vector<int64_t> shape = {mel.n_mels, mel.frames};
  if (mel.values.size() != static_cast<size_t>(mel.n_mels) * static_cast<size_t>(mel.frames)) {
    throw Error(Exit::internal, path.string() + ": the mel's sizes do not agree with its values");
  }
  if (has_ending(path.native(), ".npy")) return write_npy(path, shape, mel.values, existing);
  if (!has_ending(path.native(), ".safetensors")) {
    throw Error(
        Exit::usage,
        path.string() +
            ": a mel is written as .npy or .safetensors; choose such a name (melflow mel draws it as .png, too)");
  }
  std::map<std::string, std::string> metadata;
  if (mel.recipe) metadata[kRecipeKey] = recipe_as_json(*mel.recipe);
  write_safetensors(path, {{kTensorName, {Dtype::f32, shape, std::as_bytes(std::span(mel.values))}}}, metadata,
                    existing);
}

std::string recipe_as_json(const audio::MelOptions& options) {
  std::string text = "{";
  for (const auto& [key, value] : audio::mel_options_as_text(options)) {
    // Numbers and truth values stand as JSON has them, digit for digit; names are quoted.
    const json literal = json::parse(value, nullptr, /*allow_exceptions=*/false);
    const bool bare = literal.is_number() || literal.is_boolean();
    text += (text.size() > 1 ? "," : "") + json(key).dump() + ":" + (bare ? value : json(value).dump());
  }
  return text + "}";
}

audio::MelOptions recipe_from_json(const std::string& text, const std::string& name) {
  FlatObject object;
  json::sax_parse(text, &object);
  if (!object.problem.empty()) refuse(name, "its mel recipe " + object.problem + "; make the file again");
  audio::MelOptions options;
  std::set<std::string> given;
  try {
    for (const auto& [key, value] : object.fields) {
      audio::set_mel_option(options, key, value);
      given.insert(key);
    }
    for (const auto& [key, value] : audio::mel_options_as_text(options)) {
      // A recipe that says only half would be completed by guesses, and a wrong guess is noise.
      if (!given.contains(key)) throw Error(Exit::config, key + " is missing");
    }
    options.validate();
  } catch (const Error& error) {
    refuse(name, std::string("its mel recipe is wrong: ") + error.what());
  }
  return options;
}

}  // namespace melflow::files
