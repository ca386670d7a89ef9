#include "engine/import_waveglow.h"

#include <cmath>
#include <vector>

#include <torch/torch.h>

#include "audio/error.h"

namespace melflow::engine {
namespace {

using Table = std::map<std::string, torch::Tensor>;

/// Looks tensors up by NVIDIA's names and renames them.
class Renamer {
 public:
  Renamer(const Table& source, std::string name) : source_(source), name_(std::move(name)) {}

  const torch::Tensor& at(const std::string& key) const {
    const auto found = source_.find(key);
    if (found == source_.end())
      throw Error(Exit::bad_data, name_ + ": not a WaveGlow: tensor '" + key + "' is missing");
    return found->second;
  }
  bool has(const std::string& key) const { return source_.contains(key); }

  int64_t size(const std::string& key, int64_t dim) const {
    const auto& t = at(key);
    if (t.dim() <= dim) throw Error(Exit::bad_data, name_ + ": tensor '" + key + "' has too few dimensions");
    return t.size(dim);
  }

  /// A weight-normed convolution; where the norm was folded in, the row norms are taken off again.
  void normed(const std::string& from, const std::string& to) {
    out[to + ".bias"] = at(from + ".bias").to(torch::kFloat32);
    if (has(from + ".weight_g")) {
      out[to + ".weight_g"] = at(from + ".weight_g").to(torch::kFloat32);
      out[to + ".weight_v"] = at(from + ".weight_v").to(torch::kFloat32);
    } else {
      const auto weight = at(from + ".weight").to(torch::kFloat32);
      out[to + ".weight_v"] = weight;
      out[to + ".weight_g"] = weight.flatten(1).norm(2, {1}).view({-1, 1, 1});
    }
  }
  void plain(const std::string& from, const std::string& to) { out[to] = at(from).to(torch::kFloat32); }

  Table out;

 private:
  const Table& source_;
  std::string name_;
};

std::string numbered(const std::string& head, int64_t i) { return head + std::to_string(i); }

int64_t count(const Renamer& table, const std::string& head, const std::string& tail) {
  int64_t n = 0;
  while (table.has(head + std::to_string(n) + tail)) ++n;
  return n;
}

/// NVIDIA's files say nothing of hop and early outputs but through shapes.
models::WaveGlowOptions read_options(const Renamer& table, const std::string& name) {
  models::WaveGlowOptions o;
  o.n_mels = table.size("upsample.weight", 0);
  o.upsample_kernel = table.size("upsample.weight", 2);
  o.hop_length = o.upsample_kernel / 4;
  o.n_flows = count(table, "convinv.", ".conv.weight");
  if (o.n_flows == 0) throw Error(Exit::bad_data, name + ": not a WaveGlow: no tensor 'convinv.0.conv.weight'");
  o.group_size = table.size("convinv.0.conv.weight", 0);
  o.early_every = o.n_flows;
  o.early_size = 2;
  for (int64_t k = 1; k < o.n_flows; ++k) {
    const auto before = table.size("convinv." + std::to_string(k - 1) + ".conv.weight", 0);
    const auto here = table.size("convinv." + std::to_string(k) + ".conv.weight", 0);
    if (here == before) continue;
    o.early_every = k;
    o.early_size = before - here;
    break;
  }
  o.wavenet_layers = count(table, "WN.0.in_layers.", ".bias");
  o.wavenet_channels = table.size("WN.0.start.bias", 0);
  const std::string v = table.has("WN.0.in_layers.0.weight_v") ? ".weight_v" : ".weight";
  o.wavenet_kernel = table.size("WN.0.in_layers.0" + v, 2);
  return o;
}

/// The fused convolution of all layers, or the older list of one convolution a layer: stacked, they are the same.
Table with_fused_conditioning(const Table& source, int64_t flows, int64_t layers, const std::string& name) {
  Table out = source;
  for (int64_t k = 0; k < flows; ++k) {
    const auto wn = numbered("WN.", k);
    if (source.contains(wn + ".cond_layer.bias")) continue;
    for (const std::string part : {".bias", ".weight_g", ".weight_v", ".weight"}) {
      std::vector<torch::Tensor> rows;
      for (int64_t i = 0; i < layers; ++i) {
        const auto found = source.find(numbered(wn + ".cond_layers.", i) + part);
        if (found != source.end()) rows.push_back(found->second);
      }
      if (rows.empty()) continue;
      if (static_cast<int64_t>(rows.size()) != layers) {
        throw Error(Exit::bad_data, name + ": '" + wn + ".cond_layers' is incomplete");
      }
      out[wn + ".cond_layer" + part] = torch::cat(rows, 0);
    }
  }
  return out;
}

}  // namespace

bool looks_like_nvidia(const Table& tensors) { return tensors.contains("convinv.0.conv.weight"); }

ImportedWaveGlow import_waveglow(const Table& nvidia, const std::string& name) {
  const auto options = read_options(Renamer(nvidia, name), name);
  const auto fused = with_fused_conditioning(nvidia, options.n_flows, options.wavenet_layers, name);
  Renamer table(fused, name);
  table.plain("upsample.weight", "upsample.weight");
  table.plain("upsample.bias", "upsample.bias");
  for (int64_t k = 0; k < options.n_flows; ++k) {
    const auto wn = numbered("WN.", k), flow = numbered("flows_", k), net = flow + "_coupling.net";
    const auto matrix = numbered("convinv.", k) + ".conv.weight";
    if (table.at(matrix).dim() != 3 || table.size(matrix, 2) != 1) {
      throw Error(Exit::bad_data, name + ": tensor '" + matrix + "' is no 1x1 convolution");
    }
    table.out[flow + "_conv1x1.weight"] = table.at(matrix).squeeze(2).to(torch::kFloat32);
    table.normed(wn + ".start", net + ".start");
    table.normed(wn + ".cond_layer", net + ".cond_layer");
    for (int64_t i = 0; i < options.wavenet_layers; ++i) {
      table.normed(numbered(wn + ".in_layers.", i), numbered(net + ".in_layers_", i));
      table.normed(numbered(wn + ".res_skip_layers.", i), numbered(net + ".res_skip_layers_", i));
    }
    table.plain(wn + ".end.weight", net + ".end.weight");
    table.plain(wn + ".end.bias", net + ".end.bias");
  }
  return {options, table.out};
}

}  // namespace melflow::engine
