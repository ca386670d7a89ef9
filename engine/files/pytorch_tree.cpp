// From the inert tree of a pickle to tensors and facts. The functions named by "call" nodes are PyTorch's own
// (torch/_utils.py); what they would do with their arguments is done here.
#include "engine/files/pytorch_tree.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/error.h"
#include "engine/files/shown_name.h"

namespace melflow::files {
namespace {

constexpr size_t kMaxDepth = 64, kMaxSteps = size_t{1} << 20, kMaxTensors = 65536, kMaxPath = 1024;
constexpr size_t kLongestFactList = 8;  // kernel_size and the like; states of random generators are no facts
constexpr size_t kLongestFact = 4096;

constexpr std::pair<std::string_view, Dtype> kStorageTypes[] = {
    {"DoubleStorage", Dtype::f64},    {"FloatStorage", Dtype::f32}, {"HalfStorage", Dtype::f16},
    {"BFloat16Storage", Dtype::bf16}, {"LongStorage", Dtype::i64},  {"IntStorage", Dtype::i32},
    {"ShortStorage", Dtype::i16},     {"CharStorage", Dtype::i8},   {"ByteStorage", Dtype::u8},
    {"BoolStorage", Dtype::boolean},  {"UntypedStorage", Dtype::u8}};

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": " + what + "; fetch the file again, or save a state_dict() anew");
}

class Collector {
 public:
  Collector(const Pickle& pickle, const Storages& storages, const std::string& name, PytorchContent& out)
      : pickle_(pickle), storages_(storages), name_(name), out_(out), on_path_(pickle.nodes.size(), false) {}

  void walk(PickleId id, const std::string& path, size_t depth = 0) {
    if (++steps_ > kMaxSteps || path.size() > kMaxPath) refuse(name_, "its tree of values is endless");
    if (depth > kMaxDepth) refuse(name_, "its values are nested more than 64 deep");
    const PickleNode& node = pickle_.at(id);
    if (const auto tensor = tensor_of(id, path, 0)) return add(path, *tensor);
    if (on_path_[id]) return;  // a value that holds itself
    on_path_[id] = true;
    switch (node.kind) {
      case PickleKind::boolean:
      case PickleKind::integer:
      case PickleKind::real:
      case PickleKind::text:
        fact(node, path);
        break;
      case PickleKind::list:
      case PickleKind::tuple:
        walk_list(node, path, depth);
        break;
      case PickleKind::dict:
      case PickleKind::call:
        walk_pairs(node, path, depth);
        break;
      case PickleKind::object:
        walk_module(node, path, depth);
        break;
      default:
        break;
    }
    on_path_[id] = false;
  }

 private:
  static std::string join(const std::string& path, std::string_view key) {
    return path.empty() ? std::string(key) : path + "." + std::string(key);
  }
  std::string key_of(PickleId id) const {
    const PickleNode& key = pickle_.at(id);
    if (key.kind == PickleKind::text) return std::string(key.text);
    return key.kind == PickleKind::integer ? std::to_string(key.integer) : "?";
  }

  void walk_pairs(const PickleNode& node, const std::string& path, size_t depth) {
    // Python 2 wrote OrderedDict([[key, value], …]), where Python 3 makes an empty one and puts the items in.
    const auto& arguments = pickle_.at(node.arguments).items;
    if (node.kind == PickleKind::call && pickle_.at(node.callee).text == "collections.OrderedDict" &&
        !arguments.empty()) {
      for (const PickleId id : pickle_.at(arguments[0]).items) {
        const PickleNode& pair = pickle_.at(id);
        const bool sequence = pair.kind == PickleKind::list || pair.kind == PickleKind::tuple;
        if (!sequence || pair.items.size() != 2) refuse(name_, "it makes a dictionary of something that is no pair");
        walk(pair.items[1], join(path, key_of(pair.items[0])), depth + 1);
      }
    }
    const auto& items = node.items;
    for (size_t i = 0; i + 1 < items.size(); i += 2) walk(items[i + 1], join(path, key_of(items[i])), depth + 1);
  }
  void walk_list(const PickleNode& node, const std::string& path, size_t depth) {
    for (size_t i = 0; i < node.items.size(); ++i) {
      const auto kind = pickle_.at(node.items[i]).kind;
      const bool scalar = kind == PickleKind::boolean || kind == PickleKind::integer || kind == PickleKind::real ||
                          kind == PickleKind::text;
      if (scalar && node.items.size() > kLongestFactList) continue;
      walk(node.items[i], join(path, std::to_string(i)), depth + 1);
    }
  }

  /// torch.nn.Module: its state is its __dict__; what state_dict() would list is in three dictionaries there.
  void walk_module(const PickleNode& node, const std::string& path, size_t depth) {
    if (const auto name = class_of(node)) out_.facts[join(path, "__class__")] = *name;
    const PickleNode& state = pickle_.at(node.state);
    if (state.kind != PickleKind::dict) return;
    for (size_t i = 0; i + 1 < state.items.size(); i += 2) {
      const std::string key = key_of(state.items[i]);
      const PickleNode& value = pickle_.at(state.items[i + 1]);
      if (key == "_parameters" || key == "_buffers" || key == "_modules") {
        walk_pairs(value, path, depth + 1);
      } else if (!key.starts_with('_') && value.kind != PickleKind::call && value.kind != PickleKind::object) {
        walk(state.items[i + 1], join(path, key), depth + 1);
      }
    }
  }

  std::optional<std::string> class_of(const PickleNode& object) const {
    const PickleNode* callee = &pickle_.at(object.callee);
    if (callee->kind == PickleKind::persistent) {  // ('module', class, source file, source)
      const PickleNode& id = pickle_.at(callee->arguments);
      if (id.kind != PickleKind::tuple || id.items.size() < 2) return std::nullopt;
      callee = &pickle_.at(id.items[1]);
    }
    if (callee->kind != PickleKind::global) return std::nullopt;
    return std::string(callee->text);
  }

  void fact(const PickleNode& node, const std::string& path) {
    if (path.empty() || node.text.size() > kLongestFact) return;
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.17g", node.kind == PickleKind::real ? node.real : 0.0);
    out_.facts[path] = node.kind == PickleKind::text      ? std::string(node.text)
                       : node.kind == PickleKind::real    ? digits
                       : node.kind == PickleKind::boolean ? (node.integer ? "true" : "false")
                                                          : std::to_string(node.integer);
  }

  void add(const std::string& path, const StridedTensor& tensor) {
    if (out_.tensors.size() >= kMaxTensors) refuse(name_, "it holds more than 65,536 tensors");
    out_.tensors.emplace_back(path, tensor);
  }

  /// _rebuild_tensor(storage, offset, size, stride), _rebuild_tensor_v2(the same, …), _rebuild_parameter(tensor, …).
  std::optional<StridedTensor> tensor_of(PickleId id, const std::string& path, int depth) const {
    const PickleNode& node = pickle_.at(id);
    if (node.kind != PickleKind::call) return std::nullopt;
    const auto function = pickle_.at(node.callee).text;
    const auto& arguments = pickle_.at(node.arguments).items;
    const std::string what = name_ + ": tensor " + shown_name(path);
    if (function == "torch._utils._rebuild_parameter") {
      if (arguments.empty() || depth > 0) throw Error(Exit::bad_data, what + " is a parameter of nothing");
      return tensor_of(arguments[0], path, depth + 1);
    }
    if (function != "torch._utils._rebuild_tensor" && function != "torch._utils._rebuild_tensor_v2")
      return std::nullopt;
    if (arguments.size() < 4) throw Error(Exit::bad_data, what + " lacks its storage, offset, size or stride");
    const auto storage = storage_reference(pickle_, arguments[0], name_);
    if (!storage) throw Error(Exit::bad_data, what + " has no storage");
    const auto found = storages_.bytes.find(storage->key);
    if (found == storages_.bytes.end()) throw Error(Exit::bad_data, what + ": the file lacks its storage");
    const PickleNode& offset = pickle_.at(arguments[1]);
    if (offset.kind != PickleKind::integer || offset.integer < 0) {
      throw Error(Exit::bad_data, what + " begins at a negative place in its storage");
    }
    StridedTensor tensor{storage->dtype,
                         integers(arguments[2], what),
                         integers(arguments[3], what),
                         static_cast<uint64_t>(offset.integer),
                         {},
                         storages_.swapped};
    const size_t width = size_of(tensor.dtype);
    tensor.storage = found->second.subspan(storage->begin * width, storage->viewed * width);
    check_inside(tensor, what);
    return tensor;
  }

  std::vector<int64_t> integers(PickleId id, const std::string& what) const {
    const PickleNode& tuple = pickle_.at(id);
    const PickleNode* list = &tuple;
    if (tuple.kind == PickleKind::call && pickle_.at(tuple.callee).text == "torch.Size") {  // torch.Size((…))
      const auto& arguments = pickle_.at(tuple.arguments).items;
      if (arguments.size() == 1) list = &pickle_.at(arguments[0]);
    }
    if (list->kind != PickleKind::tuple && list->kind != PickleKind::list) {
      throw Error(Exit::bad_data, what + " has a shape that is no list of numbers");
    }
    std::vector<int64_t> values;
    for (const PickleId item : list->items) {
      if (pickle_.at(item).kind != PickleKind::integer || values.size() > kMaxDepth) {
        throw Error(Exit::bad_data, what + " has a shape that is no list of numbers");
      }
      values.push_back(pickle_.at(item).integer);
    }
    return values;
  }

  const Pickle& pickle_;
  const Storages& storages_;
  const std::string& name_;
  PytorchContent& out_;
  std::vector<bool> on_path_;
  size_t steps_ = 0;
};

}  // namespace

std::optional<Dtype> storage_dtype(std::string_view global) {
  const size_t dot = global.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto module = global.substr(0, dot), name = global.substr(dot + 1);
  if (module != "torch" && module != "torch.cuda" && module != "torch.storage") return std::nullopt;
  for (const auto& [known, dtype] : kStorageTypes) {
    if (known == name) return dtype;
  }
  return std::nullopt;
}

std::optional<StorageReference> storage_reference(const Pickle& pickle, PickleId id, const std::string& name) {
  const PickleNode& node = pickle.at(id);
  if (node.kind != PickleKind::persistent) return std::nullopt;
  const PickleNode& tuple = pickle.at(node.arguments);
  if (tuple.kind != PickleKind::tuple || tuple.items.empty()) refuse(name, "it refers to something outside itself");
  const auto item = [&](size_t i) -> const PickleNode& { return pickle.at(tuple.items[i]); };
  if (item(0).text == "module") return std::nullopt;
  if (item(0).text != "storage" || tuple.items.size() < 5 || item(1).kind != PickleKind::global ||
      item(2).kind != PickleKind::text || item(4).kind != PickleKind::integer || item(4).integer < 0) {
    refuse(name, "it refers to a storage in no known way");
  }
  const auto dtype = storage_dtype(item(1).text);
  if (!dtype) refuse(name, "it has a storage of type " + shown_name(item(1).text) + ", which is not read");
  StorageReference out{*dtype, std::string(item(2).text), static_cast<uint64_t>(item(4).integer)};
  if (out.count > (uint64_t{1} << 40)) refuse(name, "it claims a storage of more than 2^40 numbers");
  out.viewed = out.count;
  if (tuple.items.size() > 5 && item(5).kind == PickleKind::tuple) {  // (key of the view, offset, count)
    const auto& view = item(5).items;
    if (view.size() != 3 || pickle.at(view[1]).kind != PickleKind::integer ||
        pickle.at(view[2]).kind != PickleKind::integer) {
      refuse(name, "it has a view of a storage in no known form");
    }
    const auto begin = static_cast<uint64_t>(pickle.at(view[1]).integer),
               count = static_cast<uint64_t>(pickle.at(view[2]).integer);
    if (begin > out.count || count > out.count - begin) refuse(name, "it has a view outside its storage");
    out.begin = begin;
    out.viewed = count;
  }
  return out;
}

void collect(const Pickle& pickle, const Storages& storages, const std::string& name, PytorchContent& out) {
  Collector(pickle, storages, name, out).walk(pickle.root, "");
}

}  // namespace melflow::files
