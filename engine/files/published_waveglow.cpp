// NVIDIA's names ↔ ours. Which file has which layout: docs/FORMATS.md. Formulas: models/waveglow.h.
#include "engine/files/published_waveglow.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "engine/files/float_tensors.h"
#include "engine/files/shown_name.h"

namespace melflow::files {
namespace {

using Table = std::map<std::string, StridedTensor>;
using Shape = std::vector<int64_t>;

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": " + what);
}

std::optional<int64_t> fact(const Checkpoint& checkpoint, const std::string& path) {
  const auto found = checkpoint.facts.find(path);
  if (found == checkpoint.facts.end()) return std::nullopt;
  int64_t value = 0;
  const auto& text = found->second;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string numbered(const std::string& head, int64_t i) { return head + std::to_string(i); }

class Reader {
 public:
  Reader(const Checkpoint& checkpoint, std::string path, std::string name)
      : checkpoint_(checkpoint),
        path_(std::move(path)),
        name_(std::move(name)),
        table_(current_names(checkpoint.tensors, path_, name_)) {}

  PublishedWaveGlow read() {
    check_total();
    read_sizes();
    check_stored_configuration();
    read_recipe();
    take("upsample.weight", "upsample.weight", {out_.n_mels, out_.n_mels, out_.upsample_kernel});
    take("upsample.bias", "upsample.bias", {out_.n_mels});
    int64_t channels = out_.group_size;
    for (int64_t k = 0; k < out_.n_flows; ++k) {
      if (k > 0 && k % out_.early_every == 0) channels -= out_.early_size;
      if (channels < 2) refuse(name_, "not a WaveGlow: its early outputs leave less than two channels to a flow");
      read_flow(k, channels);
    }
    for (const auto& [key, tensor] : table_) {
      if (!used_.contains(key))
        refuse(name_, "tensor " + shown_name(path_ + key) + " belongs to no WaveGlow known here");
    }
    out_.layout = layout();
    return std::move(out_);
  }

 private:
  const StridedTensor& at(const std::string& key) {
    const auto found = table_.find(key);
    if (found == table_.end()) refuse(name_, "not a whole WaveGlow: tensor " + shown_name(path_ + key) + " is missing");
    used_.insert(key);
    return found->second;
  }
  bool has(const std::string& key) const { return table_.contains(key); }
  int64_t size(const std::string& key, size_t axis) {
    const auto& shape = at(key).shape;
    if (axis >= shape.size()) refuse(name_, "tensor " + shown_name(path_ + key) + " has too few dimensions");
    return shape[axis];
  }
  int64_t count(const std::string& head, const std::string& tail) const {
    int64_t n = 0;
    while (has(numbered(head, n) + tail)) ++n;
    return n;
  }

  /// Many tensors may share a storage: what is read in all stays near what is stored.
  void check_total() const {
    std::map<const std::byte*, size_t> storages;
    size_t read = 0, stored = 0;
    for (const auto& [key, tensor] : table_) {
      auto& known = storages[tensor.storage.data()];
      known = std::max(known, tensor.storage.size());
      size_t bytes = size_of(tensor.dtype);
      for (const int64_t extent : tensor.shape) bytes *= static_cast<size_t>(extent);
      read += bytes;
    }
    for (const auto& [data, bytes] : storages) stored += bytes;
    if (read > 2 * stored + (size_t{1} << 20)) refuse(name_, "its tensors share storages beyond measure");
  }

  void read_sizes() {
    auto& o = out_;
    o.n_mels = size("upsample.weight", 0);
    o.upsample_kernel = size("upsample.weight", 2);
    o.hop_length = fact(checkpoint_, path_ + "upsample.stride.0").value_or(o.upsample_kernel / 4);
    o.n_flows = count("convinv.", ".conv.weight");
    o.group_size = size("convinv.0.conv.weight", 0);
    o.early_every = o.n_flows;
    o.early_size = 2;
    for (int64_t k = 1; k < o.n_flows; ++k) {
      const auto before = size(numbered("convinv.", k - 1) + ".conv.weight", 0);
      const auto here = size(numbered("convinv.", k) + ".conv.weight", 0);
      if (here == before) continue;
      o.early_every = k;
      o.early_size = before - here;
      break;
    }
    o.wavenet_layers = count("WN.0.in_layers.", ".bias");
    o.wavenet_channels = size("WN.0.start.bias", 0);
    const bool normed = has("WN.0.in_layers.0.weight_v");
    o.wavenet_kernel = size(normed ? "WN.0.in_layers.0.weight_v" : "WN.0.in_layers.0.weight", 2);
    const auto type = checkpoint_.facts.find(path_ + "__class__");
    const bool apart = has("WN.0.res_layers.0.bias");
    o.swap_odd_halves = apart || (type != checkpoint_.facts.end() && type->second.starts_with("glow_old."));
    const bool sensible = o.hop_length > 0 && o.group_size >= 2 && o.early_size > 0 && o.wavenet_layers > 0 &&
                          o.wavenet_channels > 0 && o.wavenet_kernel > 0 && o.n_mels > 0;
    if (!sensible) refuse(name_, "not a WaveGlow: its tensors have impossible sizes");
  }

  /// A pickled module has its settings as attributes, a JoC dictionary a `config`, a NeMo archive its YAML.
  void check_stored_configuration() {
    const auto stored = [&](const std::string& nvidia, int64_t& size, bool decisive) {
      for (const auto& path : {path_ + nvidia, "config." + nvidia, "waveglow." + nvidia}) {
        const auto value = fact(checkpoint_, path);
        if (!value || *value == size) continue;
        if (!decisive || *value <= 0) {
          refuse(name_, "its configuration says " + nvidia + " = " + std::to_string(*value) +
                            ", but its tensors are made for " + std::to_string(size));
        }
        size = *value;
      }
    };
    stored("n_mel_channels", out_.n_mels, false);
    stored("n_flows", out_.n_flows, false);
    stored("n_group", out_.group_size, false);
    // Without an early output nothing in the shapes tells these two.
    const bool none = out_.early_every == out_.n_flows;
    stored("n_early_every", out_.early_every, none);
    stored("n_early_size", out_.early_size, none);
    for (const std::string group : {"WN_config.", "wn_config."}) {
      stored(group + "n_layers", out_.wavenet_layers, false);
      stored(group + "n_channels", out_.wavenet_channels, false);
      stored(group + "kernel_size", out_.wavenet_kernel, false);
    }
  }

  void read_recipe() {
    constexpr std::pair<const char*, const char*> kNemo[] = {{"sample_rate", "sample_rate"},
                                                             {"n_fft", "n_fft"},
                                                             {"n_window_size", "win_length"},
                                                             {"lowfreq", "f_min"},
                                                             {"highfreq", "f_max"}};
    for (const auto& [theirs, ours] : kNemo) {
      const auto found = checkpoint_.facts.find(std::string("preprocessor.") + theirs);
      if (found != checkpoint_.facts.end() && found->second != "null") out_.recipe[ours] = found->second;
    }
    if (const auto hop = fact(checkpoint_, "preprocessor.n_window_stride")) out_.hop_length = *hop;
    if (out_.hop_length <= 0) refuse(name_, "its configuration says a hop of " + std::to_string(out_.hop_length));
  }

  void read_flow(int64_t k, int64_t channels) {
    const auto wn = numbered("WN.", k), flow = numbered("flows_", k), net = flow + "_coupling.net";
    const int64_t c = out_.wavenet_channels, layers = out_.wavenet_layers, half = channels / 2;
    const int64_t context = out_.n_mels * out_.group_size;
    take(numbered("convinv.", k) + ".conv.weight", flow + "_conv1x1.weight", {channels, channels, 1});
    out_.tensors[flow + "_conv1x1.weight"].shape.pop_back();
    normed({wn + ".start"}, net + ".start", {{c, half, 1}});
    if (has(wn + ".cond_layer.bias")) {
      normed({wn + ".cond_layer"}, net + ".cond_layer", {{2 * c * layers, context, 1}});
    } else {
      std::vector<std::string> parts;
      for (int64_t i = 0; i < layers; ++i) parts.push_back(numbered(wn + ".cond_layers.", i));
      normed(parts, net + ".cond_layer", std::vector<Shape>(parts.size(), {2 * c, context, 1}));
    }
    for (int64_t i = 0; i < layers; ++i) {
      normed({numbered(wn + ".in_layers.", i)}, numbered(net + ".in_layers_", i), {{2 * c, c, out_.wavenet_kernel}});
      const bool last = i + 1 == layers;
      const auto to = numbered(net + ".res_skip_layers_", i), skip = numbered(wn + ".skip_layers.", i);
      if (!has(skip + ".bias")) {
        normed({numbered(wn + ".res_skip_layers.", i)}, to, {{last ? c : 2 * c, c, 1}});
      } else if (last) {
        normed({skip}, to, {{c, c, 1}});
      } else {
        normed({numbered(wn + ".res_layers.", i), skip}, to, {{c, c, 1}, {c, c, 1}});
      }
    }
    take(wn + ".end.weight", net + ".end.weight", {2 * (channels - half), c, 1});
    take(wn + ".end.bias", net + ".end.bias", {2 * (channels - half)});
  }

  /// Weight-normed convolutions, stacked along their outputs where there are several (the norm is by output, so that
  /// stacking is exact). Where the norm was folded in, g is taken off the rows again.
  void normed(const std::vector<std::string>& parts, const std::string& to, const std::vector<Shape>& shapes) {
    std::vector<TensorView> bias, g, v;
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto& from = parts[i];
      const int64_t rows = shapes[i][0];
      bias.push_back(float_view(from + ".bias", {rows}));
      if (has(from + ".weight_g")) {
        g.push_back(float_view(from + ".weight_g", {rows, 1, 1}));
        v.push_back(float_view(from + ".weight_v", shapes[i]));
        used_.insert(from + ".weight");  // derived, and stale in published modules: never read
        continue;
      }
      norm_removed_ = true;
      v.push_back(float_view(from + ".weight", shapes[i]));
      g.push_back(split_off_norms(v.back(), out_.made));
      if (!all_finite(g.back())) {
        refuse(name_, "tensor " + shown_name(path_ + from + ".weight") + " holds numbers too large for any sound");
      }
    }
    out_.tensors[to + ".bias"] = stacked(bias, out_.made);
    out_.tensors[to + ".weight_g"] = stacked(g, out_.made);
    out_.tensors[to + ".weight_v"] = stacked(v, out_.made);
  }

  void take(const std::string& from, const std::string& to, const Shape& shape) {
    out_.tensors[to] = float_view(from, shape);
  }

  TensorView float_view(const std::string& key, const Shape& shape) {
    const auto& tensor = at(key);
    const std::string what = "tensor " + shown_name(path_ + key);
    if (tensor.shape != shape) {
      refuse(name_, what + " has shape " + shape_text(tensor.shape) + ", not " + shape_text(shape));
    }
    TensorView view = in_c_order(tensor, out_.made);
    if (view.dtype != Dtype::f32) {
      const auto values = as_float32(view, name_ + ": " + what);
      view = {Dtype::f32, shape, keep(std::as_bytes(std::span(values)))};
      other_type_ = tensor.dtype;
    }
    if (!all_finite(view)) refuse(name_, what + " holds NaN or infinity; fetch the file again");
    let_go(view.bytes);
    return view;
  }

  std::span<const std::byte> keep(std::span<const std::byte> bytes) {
    return out_.made.emplace_back(bytes.begin(), bytes.end());
  }

  std::string layout() const {
    std::string text = "WaveGlow";
    const auto type = checkpoint_.facts.find(path_ + "__class__");
    if (type != checkpoint_.facts.end()) {
      text += ", pickled module " + shown_name(type->second);
    } else {
      text += ", state dictionary";
      if (!path_.empty()) text += " at " + shown_name(path_);
    }
    if (out_.swap_odd_halves) text += ", first release (2018): odd flows swap halves";
    if (has("WN.0.cond_layers.0.bias")) text += ", a conditioning convolution for each layer";
    if (norm_removed_) text += ", weight norm removed";
    if (other_type_) text += ", stored as " + name_of(*other_type_);
    return text;
  }

  const Checkpoint& checkpoint_;
  std::string path_, name_;
  Table table_;
  std::set<std::string> used_;
  PublishedWaveGlow out_;
  bool norm_removed_ = false;
  std::optional<Dtype> other_type_;
};

}  // namespace

PublishedWaveGlow read_published_waveglow(const Checkpoint& checkpoint, const std::string& name) {
  const auto path = waveglow_path(checkpoint.tensors);
  if (!path)
    refuse(name, "not a WaveGlow: it has no tensor 'convinv.0.conv.weight'; melflow inspect lists what it has");
  return Reader(checkpoint, *path, name).read();
}

}  // namespace melflow::files
