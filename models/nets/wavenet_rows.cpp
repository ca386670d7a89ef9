#include "models/nets/wavenet_rows.h"

#include "models/nets/wavenet_gate.h"

namespace melflow::models {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/// Rows [batch, time, channels] as a picture of height 1, channels last, and back; nothing is moved.
Tensor as_picture(const Tensor& rows) { return rows.unsqueeze(1).permute({0, 3, 1, 2}); }
Tensor as_rows(const Tensor& picture) { return picture.permute({0, 2, 3, 1}).squeeze(1).contiguous(); }

Tensor as_kernel(const Tensor& weight) { return weight.unsqueeze(2).contiguous(at::MemoryFormat::ChannelsLast); }
int64_t padding(const Tensor& weight, int64_t dilation) { return dilation * (weight.size(2) - 1) / 2; }

Tensor forward_conv(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t dilation) {
  const int64_t pad[] = {0, padding(weight, dilation)}, apart[] = {1, dilation};
  return as_rows(
      at::conv2d(as_picture(x), as_kernel(weight), bias, /*stride=*/1, at::IntArrayRef(pad), at::IntArrayRef(apart)));
}

Tensor gradient_of_input(const Tensor& gradient, const Tensor& x, const Tensor& weight, int64_t dilation) {
  const int64_t pad[] = {0, padding(weight, dilation)}, apart[] = {1, dilation}, one[] = {1, 1}, none[] = {0, 0};
  return as_rows(
      std::get<0>(at::convolution_backward(as_picture(gradient), as_picture(x), as_kernel(weight), std::nullopt, one,
                                           pad, apart, false, none, 1, {true, false, false})));
}

/// (weight's, bias's). Here channels come first: oneDNN's kernels for it are faster by half, transpositions included.
std::pair<Tensor, Tensor> gradient_of_weight(const Tensor& gradient, const Tensor& x, const Tensor& weight,
                                             int64_t dilation) {
  const int64_t outputs[] = {weight.size(0)}, pad[] = {padding(weight, dilation)}, apart[] = {dilation}, one[] = {1},
                none[] = {0};
  auto [unused, of_weight, of_bias] =
      at::convolution_backward(gradient.transpose(1, 2).contiguous(), x.transpose(1, 2).contiguous(), weight,
                               at::IntArrayRef(outputs), one, pad, apart, false, none, 1, {false, true, true});
  return {of_weight, of_bias};
}

struct ConvRows : Function<ConvRows> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        int64_t dilation) {
    ctx->save_for_backward({x, weight});
    ctx->saved_data["dilation"] = dilation;
    return forward_conv(x, weight, bias, dilation);
  }
  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const auto gradient = gradients[0].contiguous();
    const auto dilation = ctx->saved_data["dilation"].toInt();
    Tensor of_x;
    if (ctx->needs_input_grad(0)) of_x = gradient_of_input(gradient, saved[0], saved[1], dilation);
    auto [of_weight, of_bias] = gradient_of_weight(gradient, saved[0], saved[1], dilation);
    return {of_x, of_weight, of_bias, Tensor()};
  }
};

/// Σ over the layers' last `outputs` numbers; saves each layer's input, tanh, sigmoid and product.
struct WaveNetRows : Function<WaveNetRows> {
  static constexpr size_t kOfLayer = 4;  // saved tensors, and weights

  static GateRows gate_rows(const Tensor& h, const Tensor& conditioning, size_t layer) {
    const auto channels = h.size(2);
    return {h.size(0) * h.size(1), channels,
            conditioning.const_data_ptr<float>() + static_cast<int64_t>(layer) * 2 * channels, conditioning.size(2)};
  }

  static Tensor forward(AutogradContext* ctx, Tensor h, const Tensor& conditioning,
                        const std::vector<int64_t>& dilations, at::TensorList weights) {
    variable_list saved;
    Tensor sum;
    const auto channels = h.size(2);
    for (size_t i = 0; i < dilations.size(); ++i) {
      const auto* w = &weights[kOfLayer * i];
      const auto u = forward_conv(h, w[0], w[1], dilations[i]);
      auto tanh = at::empty_like(h), sigmoid = at::empty_like(h), product = at::empty_like(h);
      gate_forward(gate_rows(h, conditioning, i), u.const_data_ptr<float>(), tanh.data_ptr<float>(),
                   sigmoid.data_ptr<float>(), product.data_ptr<float>());
      const auto out = forward_conv(product, w[2], w[3], 1);
      saved.insert(saved.end(), {h, tanh, sigmoid, product});
      const bool last = i + 1 == dilations.size();
      const auto share = last ? out : out.narrow(2, channels, out.size(2) - channels);
      sum = sum.defined() ? sum.add_(share) : share.clone(at::MemoryFormat::Contiguous);
      if (!last) h = h + out.narrow(2, 0, channels);
    }
    for (const auto& weight : weights) saved.push_back(weight);
    saved.push_back(conditioning);
    ctx->save_for_backward(saved);
    ctx->saved_data["dilations"] = dilations;
    return sum;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const auto dilations = ctx->saved_data["dilations"].toIntVector();
    const auto gradient = gradients[0].contiguous();
    const auto layers = dilations.size();
    auto of_conditioning = at::empty_like(saved.back());
    variable_list out(3 + kOfLayer * layers);
    Tensor of_h;
    for (size_t i = layers; i-- > 0;) {
      const auto* const s = &saved[kOfLayer * i];
      const auto* const w = &saved[kOfLayer * (layers + i)];
      auto* const of_weights = &out[3 + kOfLayer * i];
      const auto of_out = of_h.defined() ? at::cat({of_h, gradient}, 2) : gradient;
      std::tie(of_weights[2], of_weights[3]) = gradient_of_weight(of_out, s[3], w[2], 1);
      const auto of_product = gradient_of_input(of_out, s[3], w[2], 1);
      auto of_u = at::empty({s[0].size(0), s[0].size(1), 2 * s[0].size(2)}, s[0].options());
      const auto rows = gate_rows(s[0], of_conditioning, i);
      gate_backward(rows, s[1].const_data_ptr<float>(), s[2].const_data_ptr<float>(),
                    of_product.const_data_ptr<float>(), of_u.data_ptr<float>(),
                    of_conditioning.data_ptr<float>() + static_cast<int64_t>(i) * 2 * rows.channels);
      std::tie(of_weights[0], of_weights[1]) = gradient_of_weight(of_u, s[0], w[0], dilations[i]);
      const auto of_input = gradient_of_input(of_u, s[0], w[0], dilations[i]);
      of_h = of_h.defined() ? of_h + of_input : of_input;
    }
    out[0] = of_h;
    out[1] = of_conditioning;
    return out;
  }
};

}  // namespace

Tensor conv_rows(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t dilation) {
  return ConvRows::apply(x.contiguous(), weight, bias, dilation);
}

Tensor wavenet_rows(const Tensor& h, const Tensor& conditioning, const std::vector<WaveNetLayer>& layers) {
  std::vector<int64_t> dilations;
  std::vector<Tensor> weights;
  for (const auto& layer : layers) {
    dilations.push_back(layer.dilation);
    weights.insert(weights.end(), {layer.in_weight, layer.in_bias, layer.out_weight, layer.out_bias});
  }
  return WaveNetRows::apply(h.contiguous(), conditioning.contiguous(), dilations, at::TensorList(weights));
}

}  // namespace melflow::models
