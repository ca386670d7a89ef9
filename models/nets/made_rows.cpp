#include "models/nets/made_rows.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <limits>
#include <vector>

#include "cpu/clones.h"
#include "models/nets/vector_math.h"

namespace melflow::models {
namespace {

constexpr int64_t kTile = 128;  // items worked on together: a tile of activations stays in the first-level cache

/// sum[b] += Σ_i weights[i] · rows[i][b] over a tile of items; `rows` lie kTile apart, `step` rows from one to the
/// next. Compiled for what the machine may have; the loader takes the best.
template <typename T>
[[gnu::always_inline]] inline void accumulate(T* sum, const T* weights, int64_t stride, const T* rows, int64_t step,
                                              int64_t count, int64_t items) {
  if (items == kTile) {
    for (int64_t i = 0; i < count; ++i) {
      const T w = weights[i * stride];
      const T* row = rows + i * step * kTile;
      for (int64_t b = 0; b < kTile; ++b) sum[b] += w * row[b];
    }
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const T w = weights[i * stride];
    const T* row = rows + i * step * kTile;
    for (int64_t b = 0; b < items; ++b) sum[b] += w * row[b];
  }
}

MELFLOW_CPU_CLONES void weigh(float* sum, const float* w, int64_t stride, const float* rows, int64_t step, int64_t n,
                              int64_t items) {
  accumulate(sum, w, stride, rows, step, n, items);
}
MELFLOW_CPU_CLONES void weigh(double* sum, const double* w, int64_t stride, const double* rows, int64_t step, int64_t n,
                              int64_t items) {
  accumulate(sum, w, stride, rows, step, n, items);
}

/// Σ of n numbers, as many running sums as a vector has places.
template <typename T>
T sum_of(const T* x, int64_t n) {
  constexpr int64_t kSums = 8;
  T sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (int64_t k = 0; k < kSums; ++k) sums[k] += x[i + k];
  }
  T sum = 0;
  for (; i < n; ++i) sum += x[i];
  for (const T part : sums) sum += part;
  return sum;
}

/// Rows of x, and the network's answer for them, → rows of z and Σ of the log-slopes.
template <typename T>
void move_rows(const Transform& transform, const T* x, const T* out, T* z, T* log_det, int64_t rows, int64_t d) {
  constexpr int64_t kNumbers = 4096;  // of a tile's answers, which stay in the first-level cache
  const int64_t outputs = transform.outputs(), tile_rows = std::clamp<int64_t>(kNumbers / (outputs * d), 1, rows);
  std::vector<T> raw(static_cast<size_t>(outputs * tile_rows * d)), log_slope(static_cast<size_t>(tile_rows * d));
  for (int64_t first = 0; first < rows; first += tile_rows) {
    const int64_t items = std::min(tile_rows, rows - first), n = items * d;
    gather_raw(out + first * outputs * d, items, outputs, d, raw.data());
    transform.move(false, x + first * d, raw.data(), n, z + first * d, log_slope.data(), n);
    for (int64_t b = 0; b < items; ++b) log_det[first + b] = sum_of(log_slope.data() + b * d, d);
  }
}

template <typename T>
Mapped pass(Made& net, const Transform& transform, const torch::Tensor& x, const torch::Tensor& context_bias) {
  constexpr int64_t kRows = 256;  // at once: their activations stay in the second-level cache, and come from the heap
  const auto from = x.contiguous();
  auto z = torch::empty_like(from), log_det = torch::empty({x.size(0)}, x.options());
  const int64_t d = x.size(1), parts = (x.size(0) + kRows - 1) / kRows;
  const T* in = from.const_data_ptr<T>();
  T *to = z.data_ptr<T>(), *sums = log_det.data_ptr<T>();
  const auto& weights = net.masked_weights();
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    c10::InferenceMode no_graph;
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = part * kRows, rows = std::min(kRows, x.size(0) - first);
      const auto context = context_bias.defined() ? context_bias.narrow(0, first, rows) : context_bias;
      const auto out = net.apply(weights, context, from.narrow(0, first, rows));
      move_rows(transform, in + first * d, out.template const_data_ptr<T>(), to + first * d, sums + first, rows, d);
    }
  });
  return {z, log_det};
}

template <typename T>
class Inverter {
 public:
  Inverter(Made& net, const Transform& transform, const torch::Tensor& context_bias)
      : net_(net), transform_(transform), weights_(net.masked_weights()), context_(context_bias) {
    const auto& o = net.options();
    activations_.resize(static_cast<size_t>(o.hidden_layers * o.hidden * kTile));
    raw_.resize(static_cast<size_t>(o.outputs * kTile));
    x_.resize(static_cast<size_t>(o.dimensions * kTile));
    limit_ = o.input_limit > 0 ? static_cast<T>(std::min<double>(o.input_limit, std::numeric_limits<float>::max()))
                               : std::numeric_limits<T>::infinity();
  }

  /// Items [first, first + items) of z → x and Σ of the inverse's log-slopes.
  void run(const T* z, T* x, T* log_det, int64_t first, int64_t items) {
    const auto d = net_.options().dimensions;
    std::fill_n(log_det + first, items, T{0});
    T value[kTile], log_slope[kTile];
    for (int64_t place = 0; place < d; ++place) {
      hidden_units_of(place, first, items);
      const auto dimension = net_.dimension_at(place);
      for (int64_t k = 0; k < net_.options().outputs; ++k) output(k * d + dimension, place, raw(k), items);
      for (int64_t b = 0; b < items; ++b) value[b] = z[(first + b) * d + dimension];
      transform_.move(true, value, raw(0), kTile, value, log_slope, items);
      for (int64_t b = 0; b < items; ++b) {
        log_det[first + b] += log_slope[b];
        x[(first + b) * d + dimension] = value[b];
        x_[static_cast<size_t>(place * kTile + b)] = std::clamp(value[b], -limit_, limit_);
      }
    }
  }

 private:
  T* raw(int64_t k) { return raw_.data() + k * kTile; }
  T* unit(int64_t layer, int64_t j) { return activations_.data() + (layer * net_.options().hidden + j) * kTile; }

  /// The units that see exactly the first `known` dimensions: computable now, and needed from now on.
  void hidden_units_of(int64_t known, int64_t first, int64_t items) {
    const auto& o = net_.options();
    const int64_t begin = known > 0 ? net_.units_of(known - 1) : 0, end = net_.units_of(known);
    for (int64_t layer = 0; layer < o.hidden_layers; ++layer) {
      const auto& w = weights_[static_cast<size_t>(layer)];
      const T* bias = net_.bias(static_cast<size_t>(layer)).template const_data_ptr<T>();
      for (int64_t j = begin; j < end; ++j) {
        T* h = unit(layer, j);
        std::fill_n(h, items, bias[j]);
        const T* row = w.template const_data_ptr<T>() + j * w.size(1);
        if (layer > 0) {
          weigh(h, row, 1, unit(layer - 1, 0), 1, end, items);
        } else {
          add_context(h, j, first, items);
          const int64_t from = net_.dimension_at(0), stride = o.reversed ? -1 : 1;
          weigh(h, row + from, stride, x_.data(), 1, known, items);
        }
        for (int64_t b = 0; b < items; ++b) h[b] = std::max(h[b], T{0});
      }
    }
  }

  void add_context(T* h, int64_t j, int64_t first, int64_t items) const {
    if (!context_.defined()) return;
    const T* c = context_.const_data_ptr<T>();
    for (int64_t b = 0; b < items; ++b) h[b] += c[(first + b) * context_.size(1) + j];
  }

  void output(int64_t column, int64_t place, T* sum, int64_t items) {
    const auto& w = weights_.back();
    std::fill_n(sum, items, net_.bias(weights_.size() - 1).template const_data_ptr<T>()[column]);
    weigh(sum, w.template const_data_ptr<T>() + column * w.size(1), 1, unit(net_.options().hidden_layers - 1, 0), 1,
          net_.units_of(place), items);
  }

  Made& net_;
  const Transform& transform_;
  const std::vector<torch::Tensor>& weights_;
  torch::Tensor context_;
  std::vector<T> activations_;  // [hidden layers, hidden, kTile]
  std::vector<T> raw_;          // [outputs, kTile]
  std::vector<T> x_;            // what is heard of x, [dimensions in their order, kTile]
  T limit_;
};

template <typename T>
Mapped invert(Made& net, const Transform& transform, const torch::Tensor& z, const torch::Tensor& context_bias) {
  const auto from = z.contiguous();
  const auto context = context_bias.defined() ? context_bias.contiguous() : context_bias;
  auto x = torch::empty_like(from), log_det = torch::empty({z.size(0)}, z.options());
  const T* in = from.const_data_ptr<T>();
  T *out = x.data_ptr<T>(), *sum = log_det.data_ptr<T>();
  net.masked_weights();  // before the threads, which only read them
  const int64_t tiles = (z.size(0) + kTile - 1) / kTile;
  at::parallel_for(0, tiles, 1, [&](int64_t begin, int64_t end) {
    c10::InferenceMode no_graph;
    Inverter<T> inverter(net, transform, context);
    for (int64_t t = begin; t < end; ++t) {
      inverter.run(in, out, sum, t * kTile, std::min(kTile, z.size(0) - t * kTile));
    }
  });
  return {x, log_det};
}

void check_rows(const Made& net, const torch::Tensor& rows) {
  TORCH_CHECK(rows.is_cpu() && rows.dim() == 2 && rows.size(1) == net.options().dimensions, "MADE on rows of ",
              net.options().dimensions, " numbers: got ", rows.sizes());
}

}  // namespace

Mapped made_forward(Made& net, const Transform& transform, const torch::Tensor& x, const torch::Tensor& context_bias) {
  check_rows(net, x);
  if (x.scalar_type() == torch::kFloat64) return pass<double>(net, transform, x, context_bias);
  return pass<float>(net, transform, x.to(torch::kFloat32), context_bias);
}

Mapped made_inverse(Made& net, const Transform& transform, const torch::Tensor& z, const torch::Tensor& context_bias) {
  check_rows(net, z);
  if (z.scalar_type() == torch::kFloat64) return invert<double>(net, transform, z, context_bias);
  return invert<float>(net, transform, z.to(torch::kFloat32), context_bias);
}

}  // namespace melflow::models
