#include "engine/synth/waveglow_weights.h"

#include <string>

#include "engine/synth/dense.h"

namespace melflow::engine {
namespace {

/// Writes weight [out, in, kernel] to rows first + tap·in + i of a matrix, output o to column(o).
template <typename Column>
void place(cpu::PanelMatrix& matrix, int first, const Dense& weight, Column&& column) {
  const double* w = weight.values.data();
  const int outputs = static_cast<int>(weight.size(0)), inputs = static_cast<int>(weight.size(1));
  const int taps = static_cast<int>(weight.size(2));
  for (int o = 0; o < outputs; ++o) {
    for (int i = 0; i < inputs; ++i) {
      for (int tap = 0; tap < taps; ++tap) matrix.at(first + tap * inputs + i, column(o)) = static_cast<float>(*w++);
    }
  }
}

template <typename Column>
void place_bias(cpu::PanelMatrix& matrix, const Dense& bias, Column&& column) {
  for (int o = 0; o < bias.count(); ++o) {
    matrix.bias(column(o)) = static_cast<float>(bias.values[static_cast<size_t>(o)]);
  }
}

int same(int column) { return column; }

cpu::PanelMatrix packed(const cpu::TileKernels& kernels, cpu::Precision precision, const Dense& weight,
                        const Dense& bias) {
  const auto depth = static_cast<int>(weight.count() / weight.size(0));
  cpu::PanelMatrix out(kernels, precision, {depth}, static_cast<int>(weight.size(0)));
  place(out, 0, weight, same);
  place_bias(out, bias, same);
  out.pack();
  return out;
}

/// ConvTranspose1d of stride hop as one matrix: row (frame f - taps + 1 + q, band i) and column (group g of frame f,
/// band m, sample j) holds weight [i, m, n] with n = (taps - 1 - q)·hop + g·group + j, zero beyond the kernel.
cpu::PanelMatrix pack_upsample(const WaveGlowWeights& w, const Dense& weight, const Dense& bias) {
  const int bands = w.n_mels, hop = w.hop_length, group = w.group_size, kernel = static_cast<int>(weight.size(2));
  cpu::PanelMatrix out(*w.kernels, cpu::Precision::fp32, {w.upsample_taps * bands}, hop * bands);
  const auto dense = weight.floats(), b = bias.floats();
  const auto column = [&](int m, int sample) { return sample / group * bands * group + m * group + sample % group; };
  for (int m = 0; m < bands; ++m) {
    for (int i = 0; i < bands; ++i) {
      const float* taps = dense.data() + (static_cast<ptrdiff_t>(i) * bands + m) * kernel;
      for (int n = 0; n < kernel; ++n)
        out.at((w.upsample_taps - 1 - n / hop) * bands + i, column(m, n % hop)) = taps[n];
    }
    for (int sample = 0; sample < hop; ++sample) out.bias(column(m, sample)) = b[static_cast<size_t>(m)];
  }
  out.pack();
  return out;
}

std::vector<WaveGlowWeights::Layer> pack_layers(const WaveGlowWeights& w, const models::WaveGlowOptions& o,
                                                const Parameters& p, const std::string& net) {
  const int channels = w.channels;
  const auto paired = [&](int c) { return w.kernels->gate_column(c, channels); };  // tanh first, then the sigmoids
  const auto cond = p.normed(net + "cond_layer"), cond_bias = p.at(net + "cond_layer.bias");
  const auto end = p.at(net + "end.weight");
  auto end_bias = p.at(net + "end.bias");
  std::vector<WaveGlowWeights::Layer> layers(static_cast<size_t>(o.wavenet_layers));
  for (int64_t i = 0; i < o.wavenet_layers; ++i) {
    auto& layer = layers[static_cast<size_t>(i)];
    const auto in = net + "in_layers_" + std::to_string(i), out = net + "res_skip_layers_" + std::to_string(i);
    const auto in_weight = p.normed(in);
    layer.dilation = static_cast<int>(o.dilation(i));
    layer.side = layer.dilation * (w.kernel - 1) / 2;
    std::vector<int> segments(static_cast<size_t>(w.kernel + 1), channels);
    segments.front() = w.context_channels;
    layer.gate = cpu::PanelMatrix(*w.kernels, w.precision, segments, w.kernels->gate_columns(channels));
    place(layer.gate, 0, cond.rows(i * 2 * channels, 2 * channels), paired);
    place(layer.gate, w.context_channels, in_weight, paired);
    place_bias(layer.gate, sum(p.at(in + ".bias"), cond_bias.rows(i * 2 * channels, 2 * channels)), paired);
    layer.gate.pack();

    const auto weight = p.normed(out), bias = p.at(out + ".bias");
    const auto skip = weight.rows(weight.size(0) - channels, channels);
    layer.skip = packed(*w.kernels, w.precision, product(end, skip),
                        {end_bias.sizes, std::vector<double>(end_bias.values.size())});
    end_bias = sum(end_bias, product(end, bias.rows(weight.size(0) - channels, channels)));
    if (i + 1 < o.wavenet_layers) {
      layer.residual = packed(*w.kernels, w.precision, weight.rows(0, channels), bias.rows(0, channels));
    }
  }
  place_bias(layers.front().skip, end_bias, same);
  return layers;
}

}  // namespace

WaveGlowWeights::WaveGlowWeights(const models::WaveGlowOptions& o,
                                 const std::map<std::string, files::TensorView>& tensors, cpu::Precision layers,
                                 const cpu::TileKernels& k)
    : kernels(&k), precision(layers) {
  const Parameters p(tensors);
  at_frames = o.conditioning == models::Conditioning::frame_rate;
  n_mels = static_cast<int>(o.n_mels);
  hop_length = static_cast<int>(o.hop_length);
  group_size = static_cast<int>(o.group_size);
  kernel = static_cast<int>(o.wavenet_kernel);
  channels = static_cast<int>(o.wavenet_channels);
  stride = (channels + k.width - 1) / k.width * k.width;
  context_channels = static_cast<int>(o.context_size());
  groups_per_frame = static_cast<int>(o.hop_length / o.group_size);
  groups_per_row = at_frames ? groups_per_frame : 1;
  if (at_frames) {
    encoder[0] = packed(k, cpu::Precision::fp32, p.at("encoder.0.weight"), p.at("encoder.0.bias"));
    encoder[1] = packed(k, cpu::Precision::fp32, p.at("encoder.2.weight"), p.at("encoder.2.bias"));
  } else {
    upsample_taps = static_cast<int>((o.upsample_kernel + o.hop_length - 1) / o.hop_length);
    upsample = pack_upsample(*this, p.at("upsample.weight"), p.at("upsample.bias"));
  }
  int total = static_cast<int>(o.group_size - (o.n_flows - 1) / o.early_every * o.early_size);
  for (int64_t f = o.n_flows - 1; f >= 0; --f) {
    const auto name = "flows_" + std::to_string(f);
    const auto net = name + "_coupling.net.";
    const bool swapped = o.swap_odd_halves && f % 2 == 1;
    Flow flow{.channels = total,
              .kept = total / 2,
              .moved = total - total / 2,
              .kept_at = swapped ? total / 2 : 0,
              .moved_at = swapped ? 0 : total / 2,
              .early = f > 0 && f % o.early_every == 0 ? static_cast<int>(o.early_size) : 0,
              .early_at = 0,
              .start = packed(k, cpu::Precision::fp32, p.normed(net + "start"), p.at(net + "start.bias")),
              .layers = pack_layers(*this, o, p, net),
              .inverse = inverse(p.at(name + "_conv1x1.weight"), name + "_conv1x1.weight").floats()};
    total += flow.early;
    flow.early_at = static_cast<int>(o.group_size) - total;
    flows.push_back(std::move(flow));
  }
  flow_side = static_cast<int>(o.flow_side());
}

size_t WaveGlowWeights::bytes() const {
  size_t sum = upsample.bytes() + encoder[0].bytes() + encoder[1].bytes();
  for (const auto& flow : flows) {
    sum += flow.start.bytes() + 4 * flow.inverse.size();
    for (const auto& layer : flow.layers) sum += layer.gate.bytes() + layer.residual.bytes() + layer.skip.bytes();
  }
  return sum;
}

}  // namespace melflow::engine
