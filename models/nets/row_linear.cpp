#include "models/nets/row_linear.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <optional>

#include "cpu/levels.h"
#include "models/autocast.h"
#include "models/nets/row_products.h"

namespace melflow::models {
namespace {

using cpu::Precision;
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/// a [rows, depth] · matrix + its bias: [rows, columns], on LibTorch's threads.
Tensor product(const Tensor& a, const cpu::PanelMatrix& matrix, int64_t columns) {
  const auto rows = a.size(0), depth = a.size(1), width = int64_t{cpu::tile_kernels().width};
  const auto shares = (rows + cpu::kTileRows - 1) / cpu::kTileRows;
  auto out = at::empty({rows, columns}, a.options());
  const auto* const from = a.const_data_ptr<float>();
  auto* const to = out.data_ptr<float>();
  at::parallel_for(0, shares, 1, [&](int64_t begin, int64_t end) {
    PackedRows packed(Precision::fp32, cpu::kTileRows, depth);
    cpu::AlignedFloats sums(static_cast<size_t>(cpu::kTileRows * width));
    for (int64_t i = begin; i < end; ++i) {
      const auto first = rows * i / shares, count = rows * (i + 1) / shares - first;
      packed.take(from + first * depth, count, 0, count);
      for (int p = 0; p < matrix.panels(); ++p) {
        matrix.start(p, static_cast<int>(count), sums.data());
        matrix.add(p, packed.from(), static_cast<int>(count), sums.data());
        const auto column = p * width, filled = std::min(width, columns - column);
        for (int64_t r = 0; r < count; ++r)
          std::copy_n(sums.data() + r * width, filled, to + (first + r) * columns + column);
      }
    }
  });
  return out;
}

struct RowLinear : Function<RowLinear> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight,
                        const std::optional<Tensor>& bias) {
    ctx->save_for_backward({x, weight});
    ctx->saved_data["bias"] = bias.has_value();
    const auto out = weight.size(0), in = weight.size(1);
    const MatrixPart part{weight.const_data_ptr<float>(), in, 1, in};
    return product(x, pack_matrix(Precision::fp32, {&part, 1}, out, bias ? bias->const_data_ptr<float>() : nullptr),
                   out);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    const auto of_y = gradients[0].contiguous();
    Tensor of_x, of_weight, of_bias;
    if (at::GradMode::is_enabled()) {  // gradients of gradients are wanted
      of_x = of_y.matmul(weight);
      of_weight = of_y.t().matmul(x);
    } else {
      const auto out = weight.size(0), in = weight.size(1);
      const MatrixPart part{weight.const_data_ptr<float>(), out, in, 1};
      if (ctx->needs_input_grad(0)) of_x = product(of_y, pack_matrix(Precision::fp32, {&part, 1}, in), in);
      if (ctx->needs_input_grad(1)) of_weight = weight_gradient(of_y, x);
    }
    if (ctx->saved_data["bias"].toBool()) of_bias = of_y.sum(0);
    return {of_x, of_weight, of_bias};
  }

  /// Σ of_y[t, i]·x[t, j], [out, in].
  static Tensor weight_gradient(const Tensor& of_y, const Tensor& x) {
    const auto rows = x.size(0), out = of_y.size(1), in = x.size(1);
    auto sum = at::zeros({out, in}, x.options());
    for (int64_t t = 0; t < rows; t += kPackedTogether) {
      const Correlated with{x.const_data_ptr<float>() + t * in, in, sum.data_ptr<float>()};
      correlate(Precision::fp32, of_y.const_data_ptr<float>() + t * out, out, 1, std::min(kPackedTogether, rows - t),
                {&with, 1});
    }
    return sum;
  }
};

/// Packing goes by the weights, and rows repay it; a narrow side wastes columns of panels. Measured on Zen 5, training
/// (docs/BENCHMARKS.md).
bool pays(const Tensor& x, const Tensor& weight) {
  constexpr int64_t kRows = 64, kWeightsOfARow = 8192, kShortSide = 20, kLongSide = 48, kProducts = int64_t{1} << 17;
  const auto out = weight.size(0), in = weight.size(1), rows = x.numel() / std::max<int64_t>(in, 1);
  return rows >= kRows && std::min(in, out) >= kShortSide && std::max(in, out) >= kLongSide &&
         in <= rows * kWeightsOfARow / out && rows >= kProducts / (in * out);
}

bool is_for_rows(const Tensor& t) { return !t.defined() || (t.is_cpu() && t.scalar_type() == torch::kFloat32); }

}  // namespace

Tensor row_linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  TORCH_CHECK(weight.dim() == 2 && weight.size(1) > 0 && x.dim() > 0 && x.size(-1) == weight.size(1), "row_linear: x ",
              x.sizes(), " and weight ", weight.sizes());
  TORCH_CHECK(!bias.defined() || bias.sizes() == weight.sizes().slice(0, 1), "row_linear: bias ", bias.sizes());
  const auto rows = x.numel() / weight.size(1);
  const auto y = RowLinear::apply(x.reshape({rows, weight.size(1)}).contiguous(), weight.contiguous(),
                                  bias.defined() ? std::optional(bias.contiguous()) : std::nullopt);
  if (x.dim() == 2) return y;  // no view, which would cost who changes it in place
  auto sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  return y.view(sizes);
}

Tensor apply_linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const bool rows = is_for_rows(x) && is_for_rows(weight) && is_for_rows(bias);
  static const bool mkl_is_slower = cpu::has_v4_of_amd_in_full();
  if (rows && mkl_is_slower && !AutocastState::of(at::kCPU).on && pays(x, weight)) return row_linear(x, weight, bias);
  return torch::linear(x, weight, bias);
}

}  // namespace melflow::models
