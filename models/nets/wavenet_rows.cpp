#include "models/nets/wavenet_rows.h"

#include <algorithm>

#include "models/nets/wavenet_layer.h"

namespace melflow::models {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

WaveNetSizes sizes_of(const Tensor& h, const Tensor& context, int64_t outputs, int64_t precision) {
  return {h.size(0),
          h.size(1),
          h.size(2),
          context.size(1),
          context.size(2),
          outputs,
          static_cast<cpu::Precision>(precision)};
}

/// Saves each layer's LayerKept and weights.
struct WaveNetRows : Function<WaveNetRows> {
  static constexpr size_t kOfLayer = 4;  // tensors kept, and weights
  static constexpr size_t kOthers = 6;   // arguments of forward() before the weights

  /// A dilation beyond all of the time reads zeros alone, as one of `time` does.
  static LayerTensors layer_of(const WaveNetSizes& s, const Tensor* w, const Tensor& cond_weight,
                               const Tensor& cond_bias, size_t layer, int64_t dilation) {
    const auto width = w[0].size(0), first = static_cast<int64_t>(layer) * width;
    return {w[0],
            w[1],
            w[2],
            w[3],
            cond_weight.narrow(0, first, width),
            cond_bias.narrow(0, first, width),
            std::min(dilation, s.time)};
  }

  static Tensor forward(AutogradContext* ctx, const Tensor& h, const Tensor& context, const Tensor& cond_weight,
                        const Tensor& cond_bias, const std::vector<int64_t>& dilations, int64_t precision,
                        at::TensorList weights) {
    const auto layers = dilations.size();
    const auto s = sizes_of(h, context, weights[kOfLayer * layers - 2].size(0), precision);
    variable_list saved{context, cond_weight, cond_bias};
    saved.insert(saved.end(), weights.begin(), weights.end());
    auto bias = at::zeros({s.outputs}, h.options());
    for (size_t i = 0; i < layers; ++i) {
      const auto& of_layer = weights[kOfLayer * i + 3];
      bias += of_layer.narrow(0, of_layer.size(0) - s.outputs, s.outputs);
    }
    const auto sum = bias.expand({s.batch, s.time, s.outputs}).contiguous();
    const LayerContext of_all(s, context);
    auto in = h;
    for (size_t i = 0; i < layers; ++i) {
      const auto layer = layer_of(s, &weights[kOfLayer * i], cond_weight, cond_bias, i, dilations[i]);
      const LayerKept kept{in, at::empty_like(h), at::empty_like(h), at::empty_like(h)};
      const auto next = i + 1 < layers ? at::empty_like(h) : Tensor();
      layer_forward(s, layer, kept, of_all, next, sum);
      saved.insert(saved.end(), {kept.h, kept.tanh, kept.sigmoid, kept.product});
      in = next;
    }
    ctx->save_for_backward(saved);
    ctx->saved_data["dilations"] = dilations;
    ctx->saved_data["precision"] = precision;
    return sum;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "wavenet_rows: has no gradients of its gradients");
    const auto saved = ctx->get_saved_variables();
    const auto dilations = ctx->saved_data["dilations"].toIntVector();
    const auto layers = dilations.size();
    const auto &context = saved[0], &cond_weight = saved[1], of_sum = gradients[0].contiguous();
    const auto* const weights = &saved[3];
    const auto* const kept = weights + kOfLayer * layers;
    const auto s = sizes_of(kept[0], context, of_sum.size(2), ctx->saved_data["precision"].toInt());
    const auto width = 2 * s.channels;
    const auto of_u = at::empty({s.batch, s.time, width}, of_sum.options());
    Correlated with_context{context.const_data_ptr<float>(), s.context, nullptr};
    with_context.words = words_of(s.precision, with_context, s.batch, s.frames);
    const PassedBack passed{at::zeros_like(kept[0]),
                            of_sum,
                            with_context,
                            at::zeros_like(context),
                            of_u,
                            s.repeat() == 1 ? of_u : at::empty({s.batch, s.frames, width}, of_sum.options())};
    const auto of_cond_weight = at::zeros_like(cond_weight), of_sum_bias = of_sum.flatten(0, 1).sum(0);
    variable_list out(kOthers + kOfLayer * layers), of_cond_bias(layers);
    for (size_t i = layers; i-- > 0;) {
      const auto layer = layer_of(s, &weights[kOfLayer * i], cond_weight, saved[2], i, dilations[i]);
      const auto* const k = &kept[kOfLayer * i];
      const auto of = layer_backward(s, layer, {k[0], k[1], k[2], k[3]}, passed,
                                     of_cond_weight.narrow(0, static_cast<int64_t>(i) * width, width));
      auto* const to = &out[kOthers + kOfLayer * i];
      to[0] = of.in_weight;
      to[1] = of_cond_bias[i] = of.in_bias;
      to[2] = of.out_weight;
      to[3] = at::cat({of.residual_bias, of_sum_bias});
    }
    out[0] = passed.of_h;
    out[1] = passed.of_context;
    out[2] = of_cond_weight;
    out[3] = at::cat(of_cond_bias);
    return out;
  }
};

}  // namespace

Tensor wavenet_rows(cpu::Precision precision, const Tensor& h, const Tensor& context,
                    const Conditioning1x1& conditioning, const std::vector<WaveNetLayer>& layers) {
  TORCH_CHECK(precision != cpu::Precision::int8, "wavenet_rows: trains in fp32 and bf16");
  TORCH_CHECK(h.size(1) > 0 && context.size(1) > 0 && h.size(1) % context.size(1) == 0, "wavenet_rows: ", h.size(1),
              " rows are no multiple of ", context.size(1), " context frames");
  std::vector<int64_t> dilations;
  std::vector<Tensor> weights;
  for (const auto& layer : layers) {
    dilations.push_back(layer.dilation);
    for (const auto& weight : {layer.in_weight, layer.in_bias, layer.out_weight, layer.out_bias})
      weights.push_back(weight.contiguous());
  }
  return WaveNetRows::apply(h.contiguous(), context.contiguous(), conditioning.weight.contiguous(), conditioning.bias,
                            dilations, static_cast<int64_t>(precision), at::TensorList(weights));
}

}  // namespace melflow::models
