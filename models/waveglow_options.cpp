#include "models/waveglow_options.h"

namespace melflow::models {
namespace {

std::string text(int64_t n) { return std::to_string(n); }

/// A weight-normed convolution of nets/weight_norm.h.
void add_normed(TensorShapes& out, const std::string& name, int64_t outputs, int64_t inputs, int64_t kernel = 1) {
  out[name + ".weight_g"] = {{outputs, 1, 1}};
  out[name + ".weight_v"] = {{outputs, inputs, kernel}};
  out[name + ".bias"] = {{outputs}};
}

void add_plain(TensorShapes& out, const std::string& name, const std::vector<int64_t>& weight, int64_t outputs) {
  out[name + ".weight"] = {weight};
  out[name + ".bias"] = {{outputs}};
}

}  // namespace

void WaveGlowOptions::validate() const {
  require(n_mels > 0 && hop_length > 0 && n_flows > 0 && early_every > 0 && early_size > 0 && context_channels > 0,
          "WaveGlow: sizes must be positive");
  require(group_size >= 2 && hop_length % group_size == 0,
          "WaveGlow: hop_length " + text(hop_length) + " is no multiple of group_size " + text(group_size));
  require(conditioning == Conditioning::frame_rate || upsample_kernel >= hop_length,
          "WaveGlow: upsample_kernel " + text(upsample_kernel) + " is below hop_length " + text(hop_length));
  const auto early = (n_flows - 1) / early_every * early_size;
  require(group_size - early >= 2, "WaveGlow: early outputs take " + text(early) + " of " + text(group_size) +
                                       " channels; at least 2 must remain");
  require(!swap_odd_halves || (group_size % 2 == 0 && early_size % 2 == 0),
          "WaveGlow: swap_odd_halves wants even group_size and early_size");
  require(wavenet_kernel % 2 == 1,
          "WaveGlow: wavenet_kernel " + text(wavenet_kernel) + " is even; the output would shrink");
  require(wavenet_layers > 0 && wavenet_layers < 24 && wavenet_channels > 0,
          "WaveGlow: WaveNets of " + text(wavenet_layers) + " layers of " + text(wavenet_channels) + " channels");
}

double WaveGlowOptions::weight_count() const {
  const auto d = [](int64_t n) { return static_cast<double>(n); };
  const bool published = conditioning == Conditioning::sample_rate;
  const double context = published ? d(n_mels) * d(group_size) : d(context_channels);
  const double front = published ? d(n_mels) * d(n_mels) * d(upsample_kernel) : 3 * context * (d(n_mels) + context);
  const double c = d(wavenet_channels);
  const double layer = 2 * c * c * d(wavenet_kernel) + 2 * c * context + 2 * c * c;
  double mixing = 0, channels = d(group_size);  // of the 1x1 convolutions, `start` and `end`
  for (int64_t k = 0; k < n_flows; ++k) {
    if (k > 0 && k % early_every == 0) channels -= d(early_size);
    mixing += channels * (channels + 1.5 * c);
  }
  return front + mixing + d(n_flows) * (d(wavenet_layers) * layer - c * c);
}

int64_t WaveGlowOptions::context_size() const {
  return conditioning == Conditioning::sample_rate ? n_mels * group_size : context_channels;
}

int64_t WaveGlowOptions::dilation(int64_t layer) const { return wavenet_dilation(layer, wavenet_dilation_cycle); }

int64_t WaveGlowOptions::flow_side() const {
  return wavenet_side(wavenet_layers, wavenet_kernel, wavenet_dilation_cycle);
}

Reach WaveGlowOptions::reach() const {
  const auto samples = n_flows * flow_side() * group_size;
  const auto side = (samples + hop_length - 1) / hop_length;
  if (conditioning == Conditioning::frame_rate) return {side + 2, side + 2};
  return {side + (upsample_kernel + hop_length - 1) / hop_length - 1, side};
}

int64_t WaveGlowOptions::first_sample_frames() const {
  // The first group comes out when as many have gone in as the flows see behind it.
  const auto groups = n_flows * flow_side() + 1, groups_per_frame = hop_length / group_size;
  const auto encoder = conditioning == Conditioning::frame_rate ? 2 : 0;
  return (groups + groups_per_frame - 1) / groups_per_frame + encoder;
}

TensorShapes WaveGlowOptions::tensors() const {
  TensorShapes out;
  const auto context = context_size(), c = wavenet_channels;
  if (conditioning == Conditioning::sample_rate) {
    add_plain(out, "upsample", {n_mels, n_mels, upsample_kernel}, n_mels);
  } else {
    add_plain(out, "encoder.0", {context, n_mels, 3}, context);
    add_plain(out, "encoder.2", {context, context, 3}, context);
  }
  int64_t channels = group_size;
  for (int64_t k = 0; k < n_flows; ++k) {
    if (k > 0 && k % early_every == 0) channels -= early_size;
    const std::string flow = "flows_" + text(k), net = flow + "_coupling.net.";
    out[flow + "_conv1x1.weight"] = {{channels, channels}};
    add_normed(out, net + "start", c, channels / 2);
    add_normed(out, net + "cond_layer", 2 * c * wavenet_layers, context);
    for (int64_t i = 0; i < wavenet_layers; ++i) {
      add_normed(out, net + "in_layers_" + text(i), 2 * c, c, wavenet_kernel);
      add_normed(out, net + "res_skip_layers_" + text(i), i + 1 < wavenet_layers ? 2 * c : c, c);
    }
    const auto ends = 2 * (channels - channels / 2);
    add_plain(out, net + "end", {ends, c, 1}, ends);
  }
  return out;
}

}  // namespace melflow::models
