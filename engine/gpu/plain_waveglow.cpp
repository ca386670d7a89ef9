#include "engine/gpu/plain_waveglow.h"

#include <cmath>
#include <initializer_list>
#include <random>

#include "base/error.h"

namespace melflow::gpu {
namespace {

size_t product(std::initializer_list<int> sizes) {
  size_t out = 1;
  for (const int n : sizes) out *= static_cast<size_t>(n);
  return out;
}

}  // namespace

double PlainWaveGlow::Sizes::flops_per_group() const {
  double sum = 2.0 * upsample_kernel / hop_length * n_mels * n_mels * group_size;
  for (int f = 0; f < n_flows; ++f) {
    const double c = channels, moved = flow_channels(f) - flow_channels(f) / 2, kept = flow_channels(f) / 2;
    sum += 2.0 * (c * kept + 2 * moved * c + flow_channels(f) * flow_channels(f));
    sum += 2.0 * layers * (2 * c * c * kernel + 2 * c * context_channels() + 2 * c * c) - 2.0 * c * c;
  }
  return sum;
}

double PlainWaveGlow::Sizes::folded_flops_per_group() const {
  double sum = 2.0 * upsample_taps() * n_mels * context_channels() / groups_per_frame();
  for (int f = 0; f < n_flows; ++f) {
    const double c = channels, moved = flow_channels(f) - flow_channels(f) / 2, kept = flow_channels(f) / 2;
    sum += 2.0 * (c * kept + flow_channels(f) * flow_channels(f));
    sum += 2.0 * layers * (2 * c * c * kernel + 2 * c * context_channels() + c * c + 2 * moved * c) - 2.0 * c * c;
  }
  return sum;
}

PlainWaveGlow PlainWaveGlow::zeros(const Sizes& s) {
  PlainWaveGlow out;
  out.sizes = s;
  out.upsample_weight.resize(product({s.n_mels, s.n_mels, s.upsample_kernel}));
  out.upsample_bias.resize(product({s.n_mels}));
  for (int f = 0; f < s.n_flows; ++f) {
    const int c = s.flow_channels(f), moved = c - c / 2;
    Flow flow;
    flow.conv.resize(product({c, c}));
    flow.start_weight.resize(product({s.channels, c / 2}));
    flow.start_bias.resize(product({s.channels}));
    for (int i = 0; i < s.layers; ++i) {
      const int outputs = i + 1 < s.layers ? 2 * s.channels : s.channels;
      Layer layer;
      layer.in_weight.resize(product({2 * s.channels, s.channels, s.kernel}));
      layer.cond_weight.resize(product({2 * s.channels, s.context_channels()}));
      layer.out_weight.resize(product({outputs, s.channels}));
      layer.out_bias.resize(product({outputs}));
      layer.in_bias.resize(product({2 * s.channels}));
      layer.cond_bias.resize(product({2 * s.channels}));
      flow.layers.push_back(std::move(layer));
    }
    flow.end_weight.resize(product({2 * moved, s.channels}));
    flow.end_bias.resize(product({2 * moved}));
    out.flows.push_back(std::move(flow));
  }
  return out;
}

PlainWaveGlow PlainWaveGlow::random(const Sizes& s, uint64_t seed) {
  auto out = zeros(s);
  std::mt19937_64 bits(seed);  // the same everywhere; the standard's distributions are not
  const auto uniform = [&] { return static_cast<double>(bits() >> 11) * 0x1p-52 - 1; };
  const auto fill = [&](std::vector<float>& values, double bound) {
    for (auto& v : values) v = static_cast<float>(bound * uniform());
  };
  const auto fan = [](int inputs) { return 1 / std::sqrt(static_cast<double>(inputs)); };
  fill(out.upsample_weight, fan(s.n_mels * s.upsample_kernel / s.hop_length));
  fill(out.upsample_bias, 0.1);
  for (auto& flow : out.flows) {
    const int c = static_cast<int>(std::lround(std::sqrt(flow.conv.size())));
    fill(flow.conv, 0.2);  // near a rotation by nothing: well conditioned
    for (int i = 0; i < c; ++i) flow.conv[static_cast<size_t>(i * c + (i + 1) % c)] += 1;
    fill(flow.start_weight, fan(c / 2));
    fill(flow.start_bias, fan(c / 2));
    for (auto& layer : flow.layers) {
      fill(layer.in_weight, fan(s.channels * s.kernel));
      fill(layer.in_bias, fan(s.channels * s.kernel));
      fill(layer.cond_weight, fan(s.context_channels()));
      fill(layer.cond_bias, fan(s.context_channels()));
      fill(layer.out_weight, fan(s.channels));
      fill(layer.out_bias, fan(s.channels));
    }
    fill(flow.end_weight, fan(s.channels));
    fill(flow.end_bias, 0.1);
  }
  return out;
}

PlainWaveGlow PlainWaveGlow::from(const Sizes& s,
                                  const std::function<std::vector<float>(const std::string&)>& parameter) {
  auto out = zeros(s);
  const auto take = [&](std::vector<float>& to, std::vector<float> values, const std::string& name) {
    if (values.size() != to.size()) throw Error(Exit::bad_data, name + ": not the shape that the configuration says");
    to = std::move(values);
  };
  const auto plain = [&](std::vector<float>& to, const std::string& name) { take(to, parameter(name), name); };
  const auto both = [&](std::vector<float>& weight, std::vector<float>& bias, const std::string& name) {
    plain(weight, name + ".weight");
    plain(bias, name + ".bias");
  };
  both(out.upsample_weight, out.upsample_bias, "upsample");
  for (size_t f = 0; f < out.flows.size(); ++f) {
    auto& flow = out.flows[f];
    const auto name = "flows_" + std::to_string(f), net = name + "_coupling.net.";
    plain(flow.conv, name + "_conv1x1.weight");
    both(flow.start_weight, flow.start_bias, net + "start");
    both(flow.end_weight, flow.end_bias, net + "end");
    const auto cond = parameter(net + "cond_layer.weight");
    const auto cond_bias = parameter(net + "cond_layer.bias");
    for (size_t i = 0; i < flow.layers.size(); ++i) {
      auto& layer = flow.layers[i];
      both(layer.in_weight, layer.in_bias, net + "in_layers_" + std::to_string(i));
      both(layer.out_weight, layer.out_bias, net + "res_skip_layers_" + std::to_string(i));
      const auto rows = [i](const std::vector<float>& all, size_t count) {  // layer i's part of the fused convolution
        return all.size() < (i + 1) * count ? std::vector<float>()
                                            : std::vector<float>(all.begin() + static_cast<ptrdiff_t>(i * count),
                                                                 all.begin() + static_cast<ptrdiff_t>((i + 1) * count));
      };
      take(layer.cond_weight, rows(cond, layer.cond_weight.size()), net + "cond_layer.weight");
      take(layer.cond_bias, rows(cond_bias, layer.cond_bias.size()), net + "cond_layer.bias");
    }
  }
  return out;
}

}  // namespace melflow::gpu
