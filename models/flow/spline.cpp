#include "models/flow/spline.h"

#include <ATen/Parallel.h>

#include <limits>

#include "models/flow/spline_loops.h"

namespace melflow::models {
namespace {

/// A few items after another, each tile's numbers side by side for the loops, on LibTorch's threads.
/// answers: [batch, outputs, d]; work(first item, items, raw [outputs, items·d]).
template <typename T, typename Work>
void for_tiles(const torch::Tensor& answers, int64_t outputs, int64_t d, Work&& work) {
  if (answers.numel() == 0) return;
  constexpr int64_t kNumbers = 8192;  // of a tile's answers, which stay in the second-level cache
  const int64_t batch = answers.size(0), tile_items = std::clamp<int64_t>(kNumbers / (outputs * d), 1, batch);
  const T* from = answers.const_data_ptr<T>();
  at::parallel_for(0, (batch + tile_items - 1) / tile_items, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> raw(static_cast<size_t>(tile_items * outputs * d));
    for (int64_t first = begin * tile_items; first < std::min(end * tile_items, batch); first += tile_items) {
      const int64_t items = std::min(tile_items, batch - first);
      gather_raw(from + first * outputs * d, items, outputs, d, raw.data());
      work(first, items, raw.data());
    }
  });
}

struct Arrays {
  torch::Tensor value, raw;  // contiguous
  int64_t outputs, d;        // numbers of an item
};

template <typename T>
Transform::Moved move(SplineSize size, bool inverse, const Arrays& in) {
  Transform::Moved out{torch::empty_like(in.value), torch::empty_like(in.value)};
  const T* value = in.value.const_data_ptr<T>();
  T *to = out.value.data_ptr<T>(), *log_slope = out.log_slope.data_ptr<T>();
  for_tiles<T>(in.raw, in.outputs, in.d, [&](int64_t first, int64_t items, const T* raw) {
    const int64_t at = first * in.d, n = items * in.d;
    spline_move(size, inverse, value + at, raw, n, to + at, log_slope + at, n);
  });
  return out;
}

template <typename T>
torch::autograd::variable_list move_back(SplineSize size, bool inverse, const Arrays& in, const torch::Tensor& of_moved,
                                         const torch::Tensor& of_log_slope) {
  auto of_value = torch::empty_like(in.value), of_raw = torch::empty_like(in.raw);
  const T *value = in.value.const_data_ptr<T>(), *of_to = of_moved.const_data_ptr<T>();
  const T* of_log = of_log_slope.const_data_ptr<T>();
  T *to = of_value.data_ptr<T>(), *raw_to = of_raw.data_ptr<T>();
  for_tiles<T>(in.raw, in.outputs, in.d, [&](int64_t first, int64_t items, T* raw) {
    const int64_t at = first * in.d, n = items * in.d;
    std::vector<T> of(static_cast<size_t>(in.outputs * n));
    spline_backward(size, inverse, value + at, raw, n, of_to + at, of_log + at, to + at, of.data(), n);
    for (int64_t b = 0; b < items; ++b) {
      for (int64_t k = 0; k < in.outputs; ++k) {
        std::copy_n(of.data() + k * n + b * in.d, in.d, raw_to + ((first + b) * in.outputs + k) * in.d);
      }
    }
  });
  return {of_value, of_raw};
}

Arrays arrays_of(const torch::Tensor& value, const torch::Tensor& raw, int64_t outputs) {
  return {value.contiguous(), raw.contiguous(), outputs, value.numel() / std::max<int64_t>(value.size(0), 1)};
}

class Moving : public torch::autograd::Function<Moving> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const torch::Tensor& value,
                                                const torch::Tensor& raw, int64_t bins, double bound, bool inverse) {
    const auto in = arrays_of(value, raw, 3 * bins - 1);
    context->save_for_backward({in.value, in.raw});
    context->saved_data["bins"] = bins;
    context->saved_data["bound"] = bound;
    context->saved_data["inverse"] = inverse;
    const SplineSize size{bins, bound};
    const auto out = value.scalar_type() == torch::kFloat64 ? move<double>(size, inverse, in)  //
                                                            : move<float>(size, inverse, in);
    return {out.value, out.log_slope};
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list of) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "Spline: has no second derivative on a CPU; Spline::plain has");
    const auto saved = context->get_saved_variables();
    const SplineSize size{context->saved_data["bins"].toInt(), context->saved_data["bound"].toDouble()};
    const bool inverse = context->saved_data["inverse"].toBool();
    const auto in = arrays_of(saved[0], saved[1], 3 * size.bins - 1);
    const auto of_moved = of[0].contiguous(), of_log_slope = of[1].contiguous();
    auto gradients = in.value.scalar_type() == torch::kFloat64
                         ? move_back<double>(size, inverse, in, of_moved, of_log_slope)
                         : move_back<float>(size, inverse, in, of_moved, of_log_slope);
    gradients.resize(5);  // sizes and direction have none
    return gradients;
  }
};

}  // namespace

Spline::Spline(const Options& options) : options_(options) {
  TORCH_CHECK(options.bins >= 2 && options.bins <= kMostBins, "spline: model.bins must be 2 to ", kMostBins, ", not ",
              options.bins);
  TORCH_CHECK(options.bound > 0 && options.bound <= 1000, "spline: model.bound must be above 0 and 1000 at most, not ",
              options.bound);
}

Transform::Moved Spline::forward(const torch::Tensor& x, const torch::Tensor& raw) const {
  return moved(x, raw, false);
}
Transform::Moved Spline::inverse(const torch::Tensor& z, const torch::Tensor& raw) const { return moved(z, raw, true); }

Transform::Moved Spline::moved(const torch::Tensor& value, const torch::Tensor& raw, bool inverse) const {
  const bool loops = value.is_cpu() && value.scalar_type() == raw.scalar_type() &&
                     (value.scalar_type() == torch::kFloat32 || value.scalar_type() == torch::kFloat64);
  if (!loops) return plain(value, raw, inverse);
  const auto out = Moving::apply(value, raw, options_.bins, options_.bound, inverse);
  return {out[0], out[1]};
}

namespace {

/// The knots of bins whose shares are softmax(raw) of [-bound, bound]: [batch, bins + 1, D, …].
torch::Tensor knots(const torch::Tensor& raw, int64_t bins, double bound) {
  const auto shares = kLeastShare + (1 - kLeastShare * static_cast<double>(bins)) * torch::softmax(raw, 1);
  const auto inner = 2 * bound * torch::cumsum(shares, 1).narrow(1, 0, bins - 1) - bound;
  const auto end = torch::full_like(inner.narrow(1, 0, 1), bound);
  return torch::cat({-end, inner, end}, 1);
}

}  // namespace

Transform::Moved Spline::plain(const torch::Tensor& value, const torch::Tensor& raw, bool inverse) const {
  const int64_t bins = options_.bins;
  const double bound = options_.bound;
  auto sizes = value.sizes().vec();
  sizes.insert(sizes.begin() + 1, outputs());
  const auto said = raw.reshape(sizes);
  const auto x = knots(said.narrow(1, 0, bins), bins, bound), y = knots(said.narrow(1, bins, bins), bins, bound);
  const auto inner = torch::softplus(said.narrow(1, 2 * bins, bins - 1) + kSlopeShift) + kLeastSlope;
  const auto one = torch::ones_like(inner.narrow(1, 0, 1));
  const auto slopes = torch::cat({one, inner, one}, 1);

  const auto inside = (value >= -bound) & (value <= bound);
  const auto v = torch::where(inside, value, torch::zeros_like(value)).unsqueeze(1);
  const auto bin = ((inverse ? y : x).narrow(1, 1, bins - 1) <= v).sum(1, /*keepdim=*/true);
  const auto at = [&](const torch::Tensor& of, int64_t next) { return of.gather(1, bin + next); };
  const auto x0 = at(x, 0), y0 = at(y, 0), d0 = at(slopes, 0), d1 = at(slopes, 1);
  const auto w = at(x, 1) - x0, h = at(y, 1) - y0, s = h / w, bend = d0 + d1 - 2 * s;
  torch::Tensor xi;
  if (inverse) {  // eq. 6 to 8
    const auto above = v - y0;
    const auto a = h * (s - d0) + above * bend, b = h * d0 - above * bend, c = -s * above;
    // Where rounding leaves nothing under the root its slope would be infinite.
    const double epsilon = value.scalar_type() == torch::kFloat64 ? std::numeric_limits<double>::epsilon()
                                                                  : std::numeric_limits<float>::epsilon();
    const auto least = (b * b * epsilon).detach();
    xi = 2 * c / (-b - torch::maximum(b * b - 4 * a * c, least).sqrt());
  } else {
    xi = (v - x0) / w;
  }
  xi = xi.clamp(0, 1);
  const auto q = xi * (1 - xi), denominator = s + bend * q;
  const auto m = d1 * xi * xi + 2 * s * q + d0 * (1 - xi) * (1 - xi);
  const auto there = inverse ? x0 + xi * w : y0 + h * (s * xi * xi + d0 * q) / denominator;
  const auto log_slope = (2 * (s.log() - denominator.log()) + m.log()) * (inverse ? -1 : 1);
  return {torch::where(inside, there.squeeze(1), value),
          torch::where(inside, log_slope.squeeze(1), torch::zeros_like(value))};
}

void Spline::move(bool inverse, const float* from, float* raw, int64_t stride, float* to, float* log_slope,
                  int64_t n) const {
  spline_move({options_.bins, options_.bound}, inverse, from, raw, stride, to, log_slope, n);
}
void Spline::move(bool inverse, const double* from, double* raw, int64_t stride, double* to, double* log_slope,
                  int64_t n) const {
  spline_move({options_.bins, options_.bound}, inverse, from, raw, stride, to, log_slope, n);
}

}  // namespace melflow::models
