#include "engine/gpu/device_waveglow.h"

#include "base/error.h"
#include "engine/gpu/tile_product.h"
#include "engine/small_matrix.h"

namespace melflow::gpu {
namespace {

int whole_eights(int n) { return (n + 7) / 8 * 8; }

/// Numbers of one kind, one after another, each piece aligned; pieces are pointers once they are uploaded.
template <typename T>
class Pool {
 public:
  static constexpr size_t kAlign = 256 / sizeof(T);
  /// Offset of `count` zeros.
  size_t add(size_t count) {
    const size_t at = values.size();
    values.resize(at + (count + kAlign - 1) / kAlign * kAlign);
    return at;
  }
  std::vector<T> values;
};

struct Packer {
  const PlainWaveGlow& model;
  int stride, context_stride, mel_stride;
  Pool<Bf16> halves;
  Pool<float> floats;

  void put(size_t matrix, int column, int depth, int at, double value) {
    halves.values[matrix + static_cast<size_t>(column) * static_cast<size_t>(depth) + static_cast<size_t>(at)] = {
        rounded_bf16(static_cast<float>(value))};
  }

  struct Upsample {
    size_t weights, bias;
  };
  /// Column (group g of the frame, band m, sample j), depth (part, tap q, band i): weight [i, m, n] with
  /// n = (taps - 1 - q)·hop + g·group + j; for the mel's upper and lower part alike.
  Upsample upsample() {
    const auto& s = model.sizes;
    const int taps = s.upsample_taps(), steps = depth_steps(s.n_mels), depth = 2 * taps * steps * Product::kDepth;
    const int columns = s.groups_per_frame() * context_stride;
    const Upsample out{halves.add(static_cast<size_t>(columns) * static_cast<size_t>(depth)),
                       floats.add(static_cast<size_t>(columns))};
    for (int sample = 0; sample < s.hop_length; ++sample) {
      for (int m = 0; m < s.n_mels; ++m) {
        const int column = sample / s.group_size * context_stride + m * s.group_size + sample % s.group_size;
        floats.values[out.bias + static_cast<size_t>(column)] = model.upsample_bias[static_cast<size_t>(m)];
        for (int q = 0; q < 2 * taps; ++q) {
          const int n = (taps - 1 - q % taps) * s.hop_length + sample;
          if (n >= s.upsample_kernel) continue;
          for (int i = 0; i < s.n_mels; ++i) {
            const auto at = (static_cast<size_t>(i * s.n_mels + m)) * static_cast<size_t>(s.upsample_kernel);
            put(out.weights, column, depth, q * steps * Product::kDepth + i,
                static_cast<double>(model.upsample_weight[at + static_cast<size_t>(n)]));
          }
        }
      }
    }
    return out;
  }

  struct Layer {
    size_t gate, gate_bias, residual, residual_bias, skip;
    bool last;
  };

  /// weight [outputs, inputs, taps] at `tap` → columns column(o), depth from + i.
  template <typename Column>
  void put_matrix(size_t matrix, int depth, int from, const std::vector<float>& weight, int inputs, int taps, int tap,
                  Column&& column) {
    const int outputs = static_cast<int>(weight.size()) / (inputs * taps);
    for (int o = 0; o < outputs; ++o) {
      for (int i = 0; i < inputs; ++i) {
        put(matrix, column(o), depth, from + i,
            static_cast<double>(weight[static_cast<size_t>((o * inputs + i) * taps + tap)]));
      }
    }
  }

  void put_gate(const Layer& to, const PlainWaveGlow::Layer& layer) {
    const auto& s = model.sizes;
    const int channels = s.channels, context_steps = depth_steps(s.context_channels()), steps = depth_steps(channels);
    const int depth = (context_steps + s.kernel * steps) * Product::kDepth;
    const auto paired = [&](int o) { return o % channels / 8 * 16 + o / channels * 8 + o % channels % 8; };
    put_matrix(to.gate, depth, 0, layer.cond_weight, s.context_channels(), 1, 0, paired);
    for (int k = 0; k < s.kernel; ++k) {
      put_matrix(to.gate, depth, (context_steps + k * steps) * Product::kDepth, layer.in_weight, channels, s.kernel, k,
                 paired);
    }
    for (int o = 0; o < 2 * channels; ++o) {
      const auto c = static_cast<size_t>(o);
      floats.values[to.gate_bias + static_cast<size_t>(paired(o))] = layer.in_bias[c] + layer.cond_bias[c];
    }
  }

  /// The skip's rows of out_weight go through `end`; what its bias does there goes to end_bias.
  void put_output(const Layer& to, const PlainWaveGlow::Layer& layer, const PlainWaveGlow::Flow& flow,
                  std::vector<double>& end_bias) {
    const int channels = model.sizes.channels, depth = depth_steps(channels) * Product::kDepth;
    const size_t skip0 = to.last ? 0 : static_cast<size_t>(channels), n = static_cast<size_t>(channels);
    if (!to.last) {
      const std::vector<float> residual(layer.out_weight.begin(), layer.out_weight.begin() + channels * channels);
      put_matrix(to.residual, depth, 0, residual, channels, 1, 0, [](int o) { return o; });
      std::copy_n(layer.out_bias.begin(), channels, floats.values.begin() + static_cast<ptrdiff_t>(to.residual_bias));
    }
    for (size_t o = 0; o < flow.end_bias.size(); ++o) {
      std::vector<double> folded(n);
      for (size_t c = 0; c < n; ++c) {
        const double end = flow.end_weight[o * n + c];
        end_bias[o] += end * static_cast<double>(layer.out_bias[skip0 + c]);
        for (size_t i = 0; i < n; ++i) folded[i] += end * static_cast<double>(layer.out_weight[(skip0 + c) * n + i]);
      }
      for (int i = 0; i < channels; ++i) put(to.skip, static_cast<int>(o), depth, i, folded[static_cast<size_t>(i)]);
    }
  }

  Layer layer(const PlainWaveGlow::Layer& from, bool last, const PlainWaveGlow::Flow& flow,
              std::vector<double>& end_bias) {
    const auto& s = model.sizes;
    const auto columns = static_cast<size_t>(stride),
               depth = static_cast<size_t>(depth_steps(s.channels)) * Product::kDepth;
    const size_t gate_depth = static_cast<size_t>(depth_steps(s.context_channels())) * Product::kDepth +
                              static_cast<size_t>(s.kernel) * depth;
    Layer to{.gate = halves.add(2 * columns * gate_depth),
             .gate_bias = floats.add(2 * columns),
             .residual = halves.add(last ? 0 : columns * depth),
             .residual_bias = floats.add(last ? 0 : columns),
             .skip = halves.add(8 * depth),
             .last = last};
    put_gate(to, from);
    put_output(to, from, flow, end_bias);
    return to;
  }

  struct Flow {
    size_t start, end_bias, inverse;
    std::vector<Layer> layers;
  };
  Flow flow(const PlainWaveGlow::Flow& from, int channels) {
    const int kept = channels / 2;
    Flow to{.start = floats.add(static_cast<size_t>((kept + 1) * stride)),
            .end_bias = floats.add(8),
            .inverse = floats.add(static_cast<size_t>(channels * channels)),
            .layers = {}};
    for (int c = 0; c < model.sizes.channels; ++c) {
      float* column = floats.values.data() + to.start + c;
      for (int k = 0; k < kept; ++k) column[k * stride] = from.start_weight[static_cast<size_t>(c * kept + k)];
      column[kept * stride] = from.start_bias[static_cast<size_t>(c)];
    }
    const auto inverse =
        engine::inverted({from.conv.begin(), from.conv.end()}, static_cast<size_t>(channels), "a 1x1 convolution");
    for (size_t i = 0; i < inverse.size(); ++i) floats.values[to.inverse + i] = static_cast<float>(inverse[i]);
    std::vector<double> end_bias(from.end_bias.begin(), from.end_bias.end());
    for (size_t i = 0; i < from.layers.size(); ++i) {
      to.layers.push_back(layer(from.layers[i], i + 1 == from.layers.size(), from, end_bias));
    }
    for (size_t i = 0; i < end_bias.size(); ++i) floats.values[to.end_bias + i] = static_cast<float>(end_bias[i]);
    return to;
  }
};

}  // namespace

int depth_steps(int channels) { return (channels + Product::kDepth - 1) / Product::kDepth; }

std::string DeviceWaveGlow::unsupported(const PlainWaveGlow::Sizes& s) {
  if (s.group_size > 8) return "groups of more than 8 samples";
  if (s.kernel % 2 == 0 || s.kernel >= Product::kMaxSources) return "a WaveNet kernel that is even or above 7";
  if (2 * s.upsample_taps() > Product::kMaxSources) return "an upsampling kernel of more than four hops";
  return "";
}

DeviceWaveGlow::DeviceWaveGlow(std::shared_ptr<Device> device, const PlainWaveGlow& model)
    : device_(std::move(device)),
      sizes_(model.sizes),
      stride_(whole_eights(sizes_.channels)),
      context_stride_(whole_eights(sizes_.context_channels())),
      mel_stride_(whole_eights(sizes_.n_mels)) {
  if (const auto why = unsupported(sizes_); !why.empty())
    throw Error(Exit::config, "the GPU's kernels do not know " + why);
  Packer packer{model, stride_, context_stride_, mel_stride_, {}, {}};
  const auto up = packer.upsample();
  std::vector<Packer::Flow> packed;
  for (int f = sizes_.n_flows - 1; f >= 0; --f) {
    packed.push_back(packer.flow(model.flows[static_cast<size_t>(f)], sizes_.flow_channels(f)));
  }
  halves_ = Buffer<Bf16>(device_, packer.halves.values);
  floats_ = Buffer<float>(device_, packer.floats.values);
  device_->wait();
  upsample_ = halves_.data() + up.weights;
  upsample_bias_ = floats_.data() + up.bias;
  for (int f = sizes_.n_flows - 1; f >= 0; --f) {
    const auto& from = packed[flows_.size()];
    const int channels = sizes_.flow_channels(f), after = f > 0 ? sizes_.flow_channels(f - 1) : channels;
    Flow flow{.channels = channels,
              .kept = channels / 2,
              .early = after - channels,
              .early_at = sizes_.group_size - after,
              .start = floats_.data() + from.start,
              .end_bias = floats_.data() + from.end_bias,
              .inverse = floats_.data() + from.inverse,
              .layers = {},
              .side = 0};
    for (size_t i = 0; i < from.layers.size(); ++i) {
      const auto& at = from.layers[i];
      const int dilation = sizes_.dilation(static_cast<int>(i));
      flow.layers.push_back({.side = dilation * (sizes_.kernel / 2),
                             .dilation = dilation,
                             .gate = halves_.data() + at.gate,
                             .gate_bias = floats_.data() + at.gate_bias,
                             .residual = at.last ? nullptr : halves_.data() + at.residual,
                             .residual_bias = at.last ? nullptr : floats_.data() + at.residual_bias,
                             .skip = halves_.data() + at.skip});
      flow.side += flow.layers.back().side;
    }
    lag_ += flow.side;
    flows_.push_back(std::move(flow));
  }
}

}  // namespace melflow::gpu
