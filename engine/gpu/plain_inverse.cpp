#include <algorithm>
#include <cmath>
#include <functional>
#include <thread>

#include "engine/gpu/plain_waveglow.h"
#include "engine/small_matrix.h"

namespace melflow::gpu {
namespace {

/// [rows, channels] in double.
struct Table {
  Table(int64_t rows, int channels_)
      : channels(channels_), values(static_cast<size_t>(rows) * static_cast<size_t>(channels_)) {}
  int channels;
  std::vector<double> values;
  double* row(int64_t t) { return values.data() + t * channels; }
  const double* row(int64_t t) const { return values.data() + t * channels; }
  int64_t rows() const { return static_cast<int64_t>(values.size()) / channels; }
};

void in_parallel(int threads, int64_t count, const std::function<void(int64_t)>& work) {
  std::vector<std::jthread> team;
  for (int i = 0; i < threads; ++i) {
    team.emplace_back([=, &work] {
      for (int64_t t = i; t < count; t += threads) work(t);
    });
  }
}

/// weight [outputs, channels, taps] at one tap · x, added to out.
void add_product(const float* weight, int outputs, int taps, int tap, const double* x, int channels, double* out) {
  for (int o = 0; o < outputs; ++o) {
    const float* w = weight + static_cast<ptrdiff_t>(o) * channels * taps + tap;
    double sum = 0;
    for (int c = 0; c < channels; ++c) sum += static_cast<double>(w[c * taps]) * x[c];
    out[o] += sum;
  }
}

/// ConvTranspose1d, then NVIDIA's grouping: channel = band·group_size + sample of the group.
Table context_of(const PlainWaveGlow& model, const std::vector<float>& mel, int threads) {
  const auto& s = model.sizes;
  const int bands = s.n_mels, group = s.group_size;
  const int64_t frames = static_cast<int64_t>(mel.size()) / bands;
  Table out(frames * s.groups_per_frame(), s.context_channels());
  in_parallel(threads, frames * s.hop_length, [&](int64_t n) {
    for (int m = 0; m < bands; ++m) {
      double sum = model.upsample_bias[static_cast<size_t>(m)];
      for (int64_t f = n / s.hop_length; f >= 0 && n - f * s.hop_length < s.upsample_kernel; --f) {
        for (int i = 0; i < bands; ++i) {
          const auto at = (static_cast<int64_t>(i) * bands + m) * s.upsample_kernel + n - f * s.hop_length;
          sum += static_cast<double>(model.upsample_weight[static_cast<size_t>(at)]) *
                 mel[static_cast<size_t>(f * bands + i)];
        }
      }
      out.row(n / group)[m * group + n % group] = sum;
    }
  });
  return out;
}

/// end(WN(x_a, context)): [groups, shift and log s].
Table wavenet(const PlainWaveGlow& model, const PlainWaveGlow::Flow& flow, const Table& latent, const Table& context,
              int threads) {
  const auto& s = model.sizes;
  const int channels = s.channels;
  const int64_t groups = latent.rows();
  Table x(groups, channels), next(groups, channels), skip(groups, channels);
  const auto bias_to = [](const std::vector<float>& bias, double* to) { std::copy(bias.begin(), bias.end(), to); };
  in_parallel(threads, groups, [&](int64_t t) {
    bias_to(flow.start_bias, x.row(t));
    add_product(flow.start_weight.data(), channels, 1, 0, latent.row(t), latent.channels / 2, x.row(t));
  });
  for (int i = 0; i < s.layers; ++i) {
    const auto& layer = flow.layers[static_cast<size_t>(i)];
    const bool last = i + 1 == s.layers;
    in_parallel(threads, groups, [&](int64_t t) {
      std::vector<double> u(static_cast<size_t>(2 * channels)), act(static_cast<size_t>(channels));
      for (size_t c = 0; c < u.size(); ++c) u[c] = static_cast<double>(layer.in_bias[c]) + layer.cond_bias[c];
      add_product(layer.cond_weight.data(), 2 * channels, 1, 0, context.row(t), context.channels, u.data());
      for (int k = 0; k < s.kernel; ++k) {
        const int64_t at = t + static_cast<int64_t>(k - s.kernel / 2) * s.dilation(i);
        if (at < 0 || at >= groups) continue;
        add_product(layer.in_weight.data(), 2 * channels, s.kernel, k, x.row(at), channels, u.data());
      }
      for (size_t c = 0; c < act.size(); ++c) act[c] = std::tanh(u[c]) / (1 + std::exp(-u[c + act.size()]));
      std::vector<double> out(layer.out_bias.begin(), layer.out_bias.end());
      add_product(layer.out_weight.data(), static_cast<int>(out.size()), 1, 0, act.data(), channels, out.data());
      for (int c = 0; c < channels; ++c) {
        next.row(t)[c] = x.row(t)[c] + (last ? 0 : out[static_cast<size_t>(c)]);
        skip.row(t)[c] += out[static_cast<size_t>(last ? c : channels + c)];
      }
    });
    std::swap(x, next);
  }
  Table change(groups, static_cast<int>(flow.end_bias.size()));
  in_parallel(threads, groups, [&](int64_t t) {
    bias_to(flow.end_bias, change.row(t));
    add_product(flow.end_weight.data(), change.channels, 1, 0, skip.row(t), channels, change.row(t));
  });
  return change;
}

}  // namespace

std::vector<double> PlainWaveGlow::inverse(const std::vector<float>& mel, const std::vector<float>& z,
                                           int threads) const {
  const auto context = context_of(*this, mel, threads);
  const int64_t groups = context.rows();
  int entered = 0;  // channels of noise, from the last ones on
  Table latent(groups, 0);
  for (int f = sizes.n_flows - 1; f >= 0; --f) {
    const auto& flow = flows[static_cast<size_t>(f)];
    const int c = sizes.flow_channels(f), kept = c / 2, moved = c - kept;
    Table x(groups, c);
    for (int64_t t = 0; t < groups; ++t) {  // noise that joins in front, then what is there
      const float* noise = z.data() + t * sizes.group_size + sizes.group_size - c;
      std::copy_n(noise, c - entered, x.row(t));
      std::copy_n(latent.row(t), entered, x.row(t) + c - entered);
    }
    const auto change = wavenet(*this, flow, x, context, threads);
    const auto inverse =
        engine::inverted({flow.conv.begin(), flow.conv.end()}, static_cast<size_t>(c), "a 1x1 convolution");
    latent = Table(groups, c);
    entered = c;
    for (int64_t t = 0; t < groups; ++t) {
      double* v = x.row(t);
      for (int i = 0; i < moved; ++i)
        v[kept + i] = (v[kept + i] - change.row(t)[i]) / std::exp(change.row(t)[moved + i]);
      for (int i = 0; i < c; ++i) {
        for (int k = 0; k < c; ++k) latent.row(t)[i] += inverse[static_cast<size_t>(i * c + k)] * v[k];
      }
    }
  }
  return latent.values;
}

}  // namespace melflow::gpu
