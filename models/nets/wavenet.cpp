#include "models/nets/wavenet.h"

#include <string>

#include "models/autocast.h"
#include "models/model_shape.h"
#include "models/nets/wavenet_rows.h"

namespace melflow::models {

WaveNet::WaveNet(const Options& o) : options_(o) {
  TORCH_CHECK(o.kernel_size % 2 == 1, "WaveNet: kernel_size ", o.kernel_size, " is even; the output would shrink");
  TORCH_CHECK(o.n_layers > 0 && o.n_layers < 24 && o.n_channels > 0, "WaveNet: ", o.n_layers, " layers of ",
              o.n_channels, " channels");
  using Conv = WeightNormConv1d;
  const auto c = o.n_channels;
  start_ =
      register_module("start", std::make_shared<Conv>(Conv::Options{.in_channels = o.in_channels, .out_channels = c}));
  cond_ = register_module("cond_layer", std::make_shared<Conv>(Conv::Options{.in_channels = o.context_channels,
                                                                             .out_channels = 2 * c * o.n_layers}));
  for (int64_t i = 0; i < o.n_layers; ++i) {
    const auto d = wavenet_dilation(i, o.dilation_cycle);
    in_.push_back(register_module("in_layers_" + std::to_string(i),
                                  std::make_shared<Conv>(Conv::Options{.in_channels = c,
                                                                       .out_channels = 2 * c,
                                                                       .kernel_size = o.kernel_size,
                                                                       .dilation = d,
                                                                       .padding = d * (o.kernel_size - 1) / 2})));
    const auto out = i + 1 < o.n_layers ? 2 * c : c;
    res_skip_.push_back(register_module("res_skip_layers_" + std::to_string(i),
                                        std::make_shared<Conv>(Conv::Options{.in_channels = c, .out_channels = out})));
  }
  end_ = register_module("end", torch::nn::Conv1d(c, o.out_channels, 1));
  torch::NoGradGuard no_grad;
  end_->weight.zero_();
  end_->bias.zero_();
}

torch::Tensor WaveNet::forward(const torch::Tensor& x, const torch::Tensor& context) {
  const auto cast = AutocastState::of(at::kCPU);
  const bool rows = options_.n_channels >= kRowsFrom && at::GradMode::is_enabled() && x.is_cpu() &&
                    x.scalar_type() == torch::kFloat32 && (!cast.on || cast.type == at::kBFloat16);
  return rows ? rows_forward(x, context) : plain_forward(x, context);
}

torch::Tensor WaveNet::rows_forward(const torch::Tensor& x, const torch::Tensor& context) {
  const auto precision = AutocastState::of(at::kCPU).on ? cpu::Precision::bf16 : cpu::Precision::fp32;
  const Autocast in_full(at::kCPU, {.on = false});  // what is not a layer's product
  const auto c = options_.n_channels, groups = x.size(2);
  const auto frames = context.size(2);
  TORCH_CHECK(frames > 0 && groups % frames == 0, "WaveNet: ", groups, " groups are no multiple of ", frames,
              " context frames");
  const auto end = end_->weight.squeeze(2);
  std::vector<WaveNetLayer> layers;
  for (size_t i = 0; i < in_.size(); ++i) {
    auto weight = res_skip_[i]->weight().squeeze(2), bias = res_skip_[i]->bias;
    const auto residual = weight.size(0) - c;  // channels, or none in the last layer
    weight = torch::cat({weight.narrow(0, 0, residual), end.matmul(weight.narrow(0, residual, c))}, 0);
    bias = torch::cat({bias.narrow(0, 0, residual), end.matmul(bias.narrow(0, residual, c))}, 0);
    layers.push_back({in_[i]->weight(), in_[i]->bias, weight, bias,
                      wavenet_dilation(static_cast<int64_t>(i), options_.dilation_cycle)});
  }
  const auto start = torch::linear(x.transpose(1, 2), start_->weight().squeeze(2), start_->bias);
  const auto sum = wavenet_rows(precision, start, context.transpose(1, 2).to(torch::kFloat32),
                                {cond_->weight(), cond_->bias}, layers);
  return (sum + end_->bias).transpose(1, 2);
}

torch::Tensor WaveNet::plain_forward(const torch::Tensor& x, const torch::Tensor& context) {
  const auto c = options_.n_channels;
  auto cond = cond_->forward(context);
  if (cond.size(2) != x.size(2)) {
    TORCH_CHECK(cond.size(2) > 0 && x.size(2) % cond.size(2) == 0, "WaveNet: ", x.size(2),
                " groups are no multiple of ", cond.size(2), " context frames");
    cond = cond.repeat_interleave(x.size(2) / cond.size(2), 2);
  }
  // Under autocast sums stay as wide as weights are, and so do what begins and ends them: as in rows_forward().
  const auto widely = [](auto& layer, const torch::Tensor& value) {
    const Autocast in_full(value.device().type(), {.on = false});
    return layer->forward(value);
  };
  auto h = widely(start_, x);
  torch::Tensor skip;
  for (size_t i = 0; i < in_.size(); ++i) {
    const auto u = in_[i]->forward(h) + cond.narrow(1, static_cast<int64_t>(i) * 2 * c, 2 * c);
    const auto a = u.narrow(1, 0, c).tanh() * u.narrow(1, c, c).sigmoid();
    const auto r = res_skip_[i]->forward(a);
    const bool last = i + 1 == in_.size();
    const auto s = last ? r : r.narrow(1, c, c);
    if (!last) h = h + r.narrow(1, 0, c);
    skip = skip.defined() ? skip + s : s.to(h.scalar_type());
  }
  return widely(end_, skip);
}

}  // namespace melflow::models
