#include <optional>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>

#include "models/block_flow.h"

namespace melflow::models {
namespace {

/// Tensors whose rows are two halves side by side: scale and shift, value and gate.
bool has_halves(const std::string& name) { return name.starts_with("film.") || name.starts_with("layer_"); }

/// Old units get their old weights, and none from new units; what new units get from old ones stays as it was drawn.
void put_into(torch::Tensor large, const torch::Tensor& small, int64_t halves) {
  const auto rows = small.size(0) / halves, apart = large.size(0) / halves;
  for (int64_t i = 0; i < halves; ++i) {
    const auto block = large.narrow(0, i * apart, rows);
    const auto theirs = small.narrow(0, i * rows, rows);
    if (small.dim() > 1) {
      block.zero_();
      block.narrow(1, 0, small.size(1)).copy_(theirs);
    } else {
      block.copy_(theirs);
    }
  }
}

}  // namespace

void BlockFlow::perturb(Past& past) const {
  const auto batch = past.e.size(0), blocks = past.e.size(1), n = past.e.size(2);
  TORCH_CHECK(noise_seeds_.empty() || static_cast<int64_t>(noise_seeds_.size()) == batch,
              "BlockFlow: ", noise_seeds_.size(), " seeds for a batch of ", batch);
  std::vector<torch::Tensor> noises(static_cast<size_t>(batch));
  const auto draw = [&](int64_t i, std::optional<at::Generator> generator) {
    const auto amount = options_.context_noise * at::rand({1}, generator).item<float>();
    noises[static_cast<size_t>(i)] = amount * at::randn({2, blocks, n}, std::move(generator));
  };
  if (noise_seeds_.empty()) {
    for (int64_t i = 0; i < batch; ++i) draw(i, std::nullopt);
  } else {
    at::parallel_for(0, batch, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        draw(i, at::make_generator<at::CPUGeneratorImpl>(noise_seeds_[static_cast<size_t>(i)]));
      }
    });
  }
  const auto noise = torch::stack(noises).to(past.e.options());
  past.e = past.e + noise.select(1, 0);
  past.x = past.x + noise.select(1, 1) * past.x.square().mean(-1, true).sqrt();
}

std::vector<std::pair<std::string, double>> BlockFlow::volumes(const torch::Tensor& x, const torch::Tensor& mel) {
  const torch::NoGradGuard no_grad;
  const double level = -guide(mel, x.size(1) / options_.hop_length).log_sigma.mean().item<double>();
  const double all = forward(x, mel).local.mean().item<double>() / static_cast<double>(options_.group_size);
  return {{"level", level}, {"network", all - level}};
}

void BlockFlow::start_from(const Vocoder& other) {
  const auto* small = dynamic_cast<const BlockFlow*>(&other);
  require(small != nullptr, "its model is another");
  auto expected = small->options_;
  require(options_.hidden >= expected.hidden && options_.layers >= expected.layers &&
              options_.encoder_channels >= expected.encoder_channels,
          "its model is larger; models grow, and do not shrink");
  expected.encoder_channels = options_.encoder_channels;
  expected.hidden = options_.hidden;
  expected.layers = options_.layers;
  expected.context_noise = options_.context_noise;
  require(options_.tensors() == expected.tensors(),
          "its model differs in more than encoder_channels, hidden and layers");

  torch::NoGradGuard no_grad;
  const auto theirs = small->named_parameters();
  for (const auto& p : named_parameters()) {
    if (const auto* weight = theirs.find(p.key())) put_into(p.value(), *weight, has_halves(p.key()) ? 2 : 1);
  }
  for (auto i = static_cast<size_t>(small->options_.layers); i < layers_.size(); ++i) {
    // A gate on nothing: the layer is the identity until its values have learned something.
    layers_[i]->weight.narrow(0, 0, options_.hidden).zero_();
    layers_[i]->bias.narrow(0, 0, options_.hidden).zero_();
  }
}

}  // namespace melflow::models
