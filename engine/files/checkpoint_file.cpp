#include "engine/files/checkpoint_file.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "engine/files/file_kind.h"
#include "engine/files/inflate.h"
#include "engine/files/shown_name.h"
#include "engine/files/tar_reader.h"

namespace melflow::files {
namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": " + what);
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Files that people mistake for checkpoints, or that are checkpoints of other worlds.
[[noreturn]] void refuse_foreign(std::string_view text, const std::string& name) {
  using std::string_view;
  const auto begins = [&](string_view magic) { return text.starts_with(magic); };
  const string_view advice = "; give a PyTorch, safetensors or NeMo file";
  std::string what = "is no checkpoint that is known here";
  if (begins("\x89HDF")) what = "is an HDF5 file (Keras or Tensorflow), which is not read";
  if (begins("GGUF")) what = "is a GGUF file, which is not read";
  if (begins("\x93NUMPY")) what = "is a NumPy array, not a checkpoint";
  if (begins("RIFF") || begins("fLaC") || begins("OggS")) what = "is a recording, not a checkpoint";
  if (begins("<") || begins("version https://git-lfs")) what = "is a web page or a pointer in the file's place";
  // A protobuf whose first field is the small number ir_version, followed by the producer's name.
  if (text.size() > 3 && text[0] == '\x08' && static_cast<unsigned char>(text[1]) < 32 && text[2] == '\x12') {
    what = "is an ONNX graph, which is not read";
  }
  refuse(name, what + std::string(advice));
}

void take(PytorchContent from, const std::string& name, Checkpoint& out) {
  out.container = from.container;
  for (auto& [path, tensor] : from.tensors) {
    if (!out.tensors.emplace(path, std::move(tensor)).second) {
      refuse(name, "it holds two tensors named " + shown_name(path) + "; fetch the file again");
    }
  }
  out.facts.merge(from.facts);
  out.globals = std::move(from.globals);
  out.refused = std::move(from.refused);
  for (auto& array : from.inflated) out.made.push_back(std::move(array));  // the storages stay where they are
}

Checkpoint from_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  Checkpoint out;
  out.container = "safetensors";
  auto content = parse_safetensors(bytes, name);
  for (const auto& [path, view] : content.tensors) out.tensors.emplace(path, strided(view));
  out.metadata = std::move(content.metadata);
  return out;
}

/// NeMo: nemo/core/connectors/save_restore_connector.py packs model_config.yaml and model_weights.ckpt.
void from_nemo(std::span<const std::byte> bytes, const std::string& name, Unknown unknown, Checkpoint& out) {
  std::span<const std::byte> weights;
  for (const auto& [path, content] : parse_tar(bytes, name)) {
    if (path.ends_with(".yaml") && out.facts.empty()) out.facts = yaml_scalars(text_of(content));
    if (path.ends_with(".ckpt") && !weights.empty()) refuse(name, "it holds more than one .ckpt; extract one of them");
    if (path.ends_with(".ckpt")) weights = content;
  }
  if (weights.empty()) refuse(name, "is a tar archive without a .ckpt, so no NeMo model; extract the weights from it");
  if (!may_be_pytorch(kind_of(weights))) refuse(name, "its .ckpt is no PyTorch file; fetch the archive again");
  take(parse_pytorch(weights, name, unknown), name, out);
  out.container = "NeMo archive (" + out.container + ")";
}

}  // namespace

Checkpoint parse_checkpoint(std::span<const std::byte> bytes, const std::string& name, Unknown unknown) {
  Checkpoint out;
  switch (kind_of(bytes)) {
    case FileKind::safetensors:
      return from_safetensors(bytes, name);
    case FileKind::zip:
    case FileKind::pickle:
      take(parse_pytorch(bytes, name, unknown), name, out);
      break;
    case FileKind::gzip: {
      const auto& tar = out.made.emplace_back(gunzip(bytes, name, inflated_limit(bytes.size())));
      if (!looks_like_tar(tar)) refuse(name, "is a gzip file that holds no NeMo archive; decompress it first");
      from_nemo(tar, name, unknown, out);
      break;
    }
    case FileKind::tar:
      from_nemo(bytes, name, unknown, out);
      break;
    case FileKind::npy:
    case FileKind::unknown:
      refuse_foreign(text_of(bytes), name);
  }
  return out;
}

CheckpointFile::CheckpointFile(const std::filesystem::path& path, Unknown unknown)
    : file_(path), content_(parse_checkpoint(file_.bytes(), path.string(), unknown)) {}

std::map<std::string, std::string> yaml_scalars(std::string_view text) {
  constexpr size_t kMaxDepth = 16, kMaxScalars = 4096, kMaxLine = 1024;
  std::map<std::string, std::string> out;
  std::vector<std::pair<size_t, std::string>> open;  // indentation and path of the keys around
  while (!text.empty() && out.size() < kMaxScalars) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const size_t indent = line.find_first_not_of(' ');
    if (indent == std::string_view::npos || line.size() > kMaxLine) continue;
    auto rest = line.substr(indent);
    const size_t colon = rest.find(':');
    if (colon == std::string_view::npos || rest[0] == '#' || rest[0] == '-' || rest[0] == '"') continue;
    while (!open.empty() && open.back().first >= indent) open.pop_back();
    const std::string path = (open.empty() ? "" : open.back().second + ".") + std::string(rest.substr(0, colon));
    rest.remove_prefix(colon + 1);
    if (const size_t comment = rest.find(" #"); comment != std::string_view::npos) rest = rest.substr(0, comment);
    while (!rest.empty() && (rest.front() == ' ' || rest.front() == '\t')) rest.remove_prefix(1);
    while (!rest.empty() && (rest.back() == ' ' || rest.back() == '\r')) rest.remove_suffix(1);
    if (rest.empty()) {
      if (open.size() < kMaxDepth) open.emplace_back(indent, path);
    } else if (std::string_view("&*!|>{[").find(rest[0]) == std::string_view::npos) {
      if (rest.size() > 1 && (rest[0] == '\'' || rest[0] == '"') && rest.back() == rest[0]) {
        rest = rest.substr(1, rest.size() - 2);
      }
      out.emplace(path, rest);
    }
  }
  return out;
}

}  // namespace melflow::files
