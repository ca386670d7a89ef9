#include "models/waveglow.h"

#include <algorithm>
#include <string>

#include "models/flow/split.h"
#include "models/flow/squeeze.h"

namespace melflow::models {
namespace {

/// The second half of the channels before the first; its own inverse.
class SwapHalves : public Bijection {
 public:
  Mapped forward(const torch::Tensor& x, const torch::Tensor&) override {
    const auto half = x.size(1) / 2;
    return {torch::cat({x.narrow(1, half, half), x.narrow(1, 0, half)}, 1), no_volume(x),
            torch::zeros({x.size(0), x.size(2)}, x.options())};
  }
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context) override { return forward(z, context); }
};

}  // namespace

WaveGlow::WaveGlow(const WaveGlowOptions& options) : options_(options) {
  options_.validate();
  register_conditioning();
  const auto levels = register_flows();
  list_steps(levels);
  chain_ = nested(levels);
}

void WaveGlow::register_conditioning() {
  const auto& o = options_;
  if (o.conditioning == Conditioning::sample_rate) {
    upsample_ = register_module(
        "upsample", torch::nn::ConvTranspose1d(
                        torch::nn::ConvTranspose1dOptions(o.n_mels, o.n_mels, o.upsample_kernel).stride(o.hop_length)));
    return;
  }
  const auto conv = [](int64_t in, int64_t out) {
    return torch::nn::Conv1d(torch::nn::Conv1dOptions(in, out, 3).padding(1));
  };
  const auto channels = o.context_size();
  encoder_ = register_module("encoder", torch::nn::Sequential(conv(o.n_mels, channels), torch::nn::SiLU(),
                                                              conv(channels, channels), torch::nn::SiLU()));
}

WaveGlow::Levels WaveGlow::register_flows() {
  const auto& o = options_;
  int64_t channels = o.group_size;
  Levels levels(1);
  for (int64_t k = 0; k < o.n_flows; ++k) {
    if (k > 0 && k % o.early_every == 0) {
      channels -= o.early_size;
      levels.emplace_back();
    }
    auto net = std::make_shared<WaveNet>(WaveNet::Options{.in_channels = channels / 2,
                                                          .out_channels = 2 * (channels - channels / 2),
                                                          .context_channels = o.context_size(),
                                                          .n_layers = o.wavenet_layers,
                                                          .n_channels = o.wavenet_channels,
                                                          .kernel_size = o.wavenet_kernel,
                                                          .dilation_cycle = o.wavenet_dilation_cycle});
    const auto name = "flows_" + std::to_string(k);
    levels.back().push_back(register_module(name + "_conv1x1", std::make_shared<Conv1x1>(channels)));
    const bool swap = o.swap_odd_halves && k % 2 == 1;
    if (swap) levels.back().push_back(std::make_shared<SwapHalves>());
    levels.back().push_back(register_module(name + "_coupling", std::make_shared<Coupling>(channels, net)));
    if (swap) levels.back().push_back(std::make_shared<SwapHalves>());
  }
  return levels;
}

void WaveGlow::list_steps(const Levels& levels) {
  steps_.push_back({"squeeze", std::make_shared<Squeeze>(options_.group_size)});
  for (size_t level = 0; level < levels.size(); ++level) {
    for (const auto& map : levels[level]) {
      steps_.push_back({{}, map, options_.early_size * static_cast<int64_t>(level)});
    }
  }
  for (const auto& child : named_children()) {
    for (auto& step : steps_) {
      if (step.map == child.value()) step.name = child.key();
    }
  }
}

std::shared_ptr<Bijection> WaveGlow::nested(Levels levels) const {
  levels.front().insert(levels.front().begin(), steps_.front().map);
  // From the noise end backwards: each level ends in the split that wraps all later ones.
  std::shared_ptr<Bijection> chain;
  for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
    if (chain) level->push_back(std::make_shared<Split>(options_.early_size, chain));
    chain = std::make_shared<Chain>(*level);
  }
  return chain;
}

torch::Tensor WaveGlow::context(const torch::Tensor& whole_mel, int64_t groups) {
  const auto& o = options_;
  TORCH_CHECK(whole_mel.dim() == 3 && whole_mel.size(1) == o.n_mels, "WaveGlow: wants a mel [batch, ", o.n_mels,
              ", frames], not ", whole_mel.sizes());
  // Later frames reach no sample of these groups, but those that the encoder looks ahead.
  const auto ahead = o.conditioning == Conditioning::frame_rate ? 2 : 0;
  const auto needed = (groups * o.group_size + o.hop_length - 1) / o.hop_length + ahead;
  const auto mel = whole_mel.narrow(2, 0, std::min(needed, whole_mel.size(2)));
  if (o.conditioning == Conditioning::frame_rate) {
    const auto frames = groups * o.group_size / o.hop_length;
    TORCH_CHECK(groups * o.group_size == frames * o.hop_length && mel.size(2) >= frames, "WaveGlow: ", mel.size(2),
                " mel frames for ", groups, " groups of ", o.group_size, " samples at hop ", o.hop_length);
    return encoder_->forward(mel).narrow(2, 0, frames);
  }
  if (at::GradMode::is_enabled() && mel.is_cpu()) return upsampled_rows(mel, groups).transpose(1, 2);
  // Frame t writes samples [hop·t, hop·t + kernel); the tail past the audio is dropped, as NVIDIA's infer does.
  const auto up = upsample_->forward(mel);
  TORCH_CHECK(up.size(2) >= groups * o.group_size, "WaveGlow: ", mel.size(2), " mel frames are too few for ",
              groups * o.group_size, " samples");
  // [batch, mel, group, j] → channel mel·group_size + j, as unfold in the reference.
  return up.narrow(2, 0, groups * o.group_size)
      .view({mel.size(0), o.n_mels, groups, o.group_size})
      .transpose(2, 3)
      .reshape({mel.size(0), o.n_mels * o.group_size, groups});
}

torch::Tensor WaveGlow::upsampled_rows(const torch::Tensor& mel, int64_t groups) {
  const auto& o = options_;
  const auto batch = mel.size(0), frames = mel.size(2), hop = o.hop_length;
  const auto hops = (o.upsample_kernel + hop - 1) / hop;
  TORCH_CHECK((frames - 1) * hop + o.upsample_kernel >= groups * o.group_size, "WaveGlow: ", frames,
              " mel frames are too few for ", groups * o.group_size, " samples");
  // [bands, hops, bands, hop], so that what a frame gives to one hop lies together.
  const auto weight = torch::constant_pad_nd(upsample_->weight, {0, hops * hop - o.upsample_kernel})
                          .view({o.n_mels, o.n_mels, hops, hop})
                          .permute({0, 2, 1, 3})
                          .reshape({o.n_mels, -1});
  const auto parts = mel.transpose(1, 2).matmul(weight).view({batch, frames, hops, o.n_mels * hop});
  auto sum = torch::zeros({batch, frames + hops - 1, o.n_mels * hop}, mel.options());
  for (int64_t q = 0; q < hops; ++q) sum.narrow(1, q, frames).add_(parts.select(2, q));
  return (sum.view({batch, -1, o.n_mels, hop}) + upsample_->bias.view({o.n_mels, 1}))
      .view({batch, -1, o.n_mels, hop / o.group_size, o.group_size})
      .permute({0, 1, 3, 2, 4})
      .reshape({batch, -1, o.n_mels * o.group_size})
      .narrow(1, 0, groups);
}

Mapped WaveGlow::forward(const torch::Tensor& x, const torch::Tensor& mel) {
  const auto told = context(mel, x.size(1) / options_.group_size);
  return reversible_ && torch::GradMode::is_enabled() ? forward_reversibly(steps_, x, told) : chain_->forward(x, told);
}

bool WaveGlow::set_reversible(bool on) {
  reversible_ = on;
  return true;
}

std::vector<std::pair<std::string, double>> WaveGlow::volumes(const torch::Tensor& x, const torch::Tensor& mel) {
  const torch::NoGradGuard no_grad;
  const auto means = mean_volumes(steps_, x, context(mel, x.size(1) / options_.group_size));
  std::vector<std::pair<std::string, double>> out;
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (!steps_[i].name.empty() && steps_[i].name != "squeeze")
      out.emplace_back(steps_[i].name, means[i] / static_cast<double>(options_.group_size));
  }
  return out;
}

Mapped WaveGlow::inverse(const torch::Tensor& z, const torch::Tensor& mel) {
  return chain_->inverse(z, context(mel, z.size(2)));
}

}  // namespace melflow::models
