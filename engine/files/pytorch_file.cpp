#include "engine/files/pytorch_file.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "engine/files/pytorch_tree.h"
#include "engine/files/shown_name.h"
#include "engine/files/zip_reader.h"

namespace melflow::files {
namespace {

/// torch/serialization.py: MAGIC_NUMBER, as the pickle of an integer begins, and PROTOCOL_VERSION.
constexpr std::string_view kLegacyMagic("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 12);
constexpr int64_t kLegacyProtocol = 1001;
constexpr std::string_view kPickleStart("\x80", 1), kZipStart("PK", 2);

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": " + what);
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Whether a pickle begins with the magic number: behind the protocol, and from protocol 4 on in a frame (0x95 and its
/// length).
bool begins_legacy(std::string_view text) {
  constexpr size_t kProtocolBytes = 2, kFrameBytes = 9;
  if (!text.starts_with(kPickleStart) || text.size() < kProtocolBytes + kFrameBytes) return false;
  text.remove_prefix(kProtocolBytes);
  if (text.starts_with('\x95')) text.remove_prefix(kFrameBytes);
  return text.starts_with(kLegacyMagic);
}

GlobalPolicy policy(Unknown unknown, PytorchContent& out) {
  return [unknown, &out](std::string_view global) {
    if (is_plain_global(global)) return true;
    if (unknown == Unknown::refuse) return false;
    const std::string name(global);
    if (std::find(out.refused.begin(), out.refused.end(), name) == out.refused.end()) out.refused.push_back(name);
    return true;
  };
}

/// Every storage that the pickle speaks of, each of one type and size.
std::map<std::string, StorageReference> references(const Pickle& pickle, const std::string& name) {
  std::map<std::string, StorageReference> all;
  for (PickleId id = 0; id < pickle.nodes.size(); ++id) {
    const auto storage = storage_reference(pickle, id, name);
    if (!storage) continue;
    const auto [known, added] = all.emplace(storage->key, *storage);
    if (!added && (known->second.dtype != storage->dtype || known->second.count != storage->count)) {
      refuse(name, "storage " + shown_name(storage->key) + " is described in two ways; fetch the file again");
    }
  }
  return all;
}

void finish(const Pickle& pickle, const Storages& storages, const std::string& name, PytorchContent& out) {
  out.globals.assign(pickle.globals.begin(), pickle.globals.end());
  collect(pickle, storages, name, out);
}

PytorchContent parse_archive(std::span<const std::byte> bytes, const std::string& name, Unknown unknown) {
  PytorchContent out;
  out.container = "PyTorch zip";
  const auto members = parse_zip(bytes, name);
  std::string folder;
  for (const auto& [path, member] : members) {
    const size_t slash = path.find('/');
    if (slash == std::string::npos) continue;
    const auto rest = path.substr(slash + 1);
    if (rest == "constants.pkl" || rest.starts_with("code/")) {
      refuse(name,
             "is TorchScript: a program with its weights, which is never run here; "
             "save the weights alone: torch.save(model.state_dict(), FILE)");
    }
    if (rest == "data.pkl") folder = path.substr(0, slash + 1);
  }
  if (folder.empty()) {
    refuse(name, "is a zip archive without data.pkl, so not one that torch.save made; check that it is the right file");
  }
  const auto content = [&](const ZipMember& member) -> std::span<const std::byte> {
    return member.deflated ? out.inflated.emplace_back(inflate_member(member, name)) : member.stored;
  };
  const auto pickle_bytes = content(members.at(folder + "data.pkl"));
  check_crc(members.at(folder + "data.pkl"), pickle_bytes, name);
  const Pickle pickle = parse_pickle(pickle_bytes, name, policy(unknown, out));
  Storages storages;
  if (const auto order = members.find(folder + "byteorder"); order != members.end()) {
    storages.swapped = text_of(content(order->second)) == "big";
  }
  for (const auto& [key, storage] : references(pickle, name)) {
    const auto member = members.find(folder + "data/" + key);
    if (member == members.end()) refuse(name, "it lacks storage " + shown_name(key) + "; fetch the file again");
    if (member->second.size != storage.count * size_of(storage.dtype)) {
      refuse(name, "storage " + shown_name(key) + " has not the size that its pickle says; fetch the file again");
    }
    storages.bytes[key] = content(member->second);
  }
  finish(pickle, storages, name, out);
  return out;
}

bool is_little_endian(const Pickle& system, const std::string& name) {
  const PickleNode& root = system.at(system.root);
  for (size_t i = 0; root.kind == PickleKind::dict && i + 1 < root.items.size(); i += 2) {
    if (system.at(root.items[i]).text == "little_endian") return system.at(root.items[i + 1]).integer != 0;
  }
  refuse(name, "its second header does not say the byte order; fetch the file again");
}

/// Five pickles (magic, protocol, system, object, storage keys), then the storages in the order of the keys.
PytorchContent parse_legacy(std::span<const std::byte> bytes, const std::string& name, Unknown unknown) {
  PytorchContent out;
  out.container = "PyTorch legacy";
  size_t position = 0;
  const GlobalPolicy nothing = [](std::string_view) { return false; };
  const auto next = [&](const GlobalPolicy& allowed) {
    Pickle pickle = parse_pickle(bytes.subspan(position), name, allowed);
    position += pickle.length;
    return pickle;
  };
  next(nothing);  // the magic number, which the caller has seen
  const Pickle protocol = next(nothing);
  if (protocol.at(protocol.root).integer != kLegacyProtocol) refuse(name, "its PyTorch protocol is not 1001");
  Storages storages;
  storages.swapped = !is_little_endian(next(nothing), name);
  const Pickle object = next(policy(unknown, out));
  const Pickle keys = next(nothing);
  const auto described = references(object, name);
  for (const PickleId id : keys.at(keys.root).items) {
    const std::string key(keys.at(id).text);
    const auto storage = described.find(key);
    if (storage == described.end()) refuse(name, "it stores " + shown_name(key) + ", which nothing in it uses");
    uint64_t count = 0;
    if (bytes.size() - position < sizeof count) refuse(name, "it ends before storage " + shown_name(key));
    std::memcpy(&count, bytes.data() + position, sizeof count);
    position += sizeof count;
    if (storages.swapped) count = __builtin_bswap64(count);
    const size_t width = size_of(storage->second.dtype);
    if (count != storage->second.count) refuse(name, "storage " + shown_name(key) + " has two sizes");
    if (count > (bytes.size() - position) / width) {
      refuse(name, "storage " + shown_name(key) + " reaches beyond the file (was it cut off?); fetch it again");
    }
    if (!storages.bytes.emplace(key, bytes.subspan(position, count * width)).second) {
      refuse(name, "it stores " + shown_name(key) + " twice");
    }
    position += count * width;
  }
  finish(object, storages, name, out);
  return out;
}

}  // namespace

PytorchContent parse_pytorch(std::span<const std::byte> bytes, const std::string& name, Unknown unknown) {
  const auto text = text_of(bytes);
  if (text.starts_with(kZipStart)) return parse_archive(bytes, name, unknown);
  if (begins_legacy(text)) return parse_legacy(bytes, name, unknown);
  if (text.starts_with(kPickleStart)) {
    refuse(name,
           "is a Python pickle, but none that torch.save made; such files are not read: "
           "save the weights with torch.save(model.state_dict(), FILE)");
  }
  refuse(name, "is no PyTorch file; check that it is the right file");
}

bool is_plain_global(std::string_view global) {
  constexpr std::string_view kPlain[] = {
      "collections.OrderedDict", "collections.defaultdict", "builtins.set", "builtins.dict", "builtins.list",
      "builtins.tuple", "__builtin__.set", "__builtin__.dict", "__builtin__.list", "__builtin__.tuple",
      "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter",
      "torch.nn.parameter.Parameter", "torch.nn.utils.weight_norm.WeightNorm", "torch.Size", "torch.device",
      // NVIDIA's own classes, in the modules where its repositories have them
      "glow.WaveGlow", "glow.WN", "glow.Invertible1x1Conv", "glow_old.WaveGlow", "glow_old.WN",
      "glow_old.Invertible1x1Conv", "waveglow.model.WaveGlow", "waveglow.model.WN", "waveglow.model.Invertible1x1Conv",
      "waveglow.glow.WaveGlow", "waveglow.glow.WN", "waveglow.glow.Invertible1x1Conv"};
  if (std::find(std::begin(kPlain), std::end(kPlain), global) != std::end(kPlain)) return true;
  return global.starts_with("torch.nn.modules.") || storage_dtype(global).has_value();
}

}  // namespace melflow::files
