#include "models/nets/wavenet_layer.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "models/nets/row_products.h"
#include "models/nets/wavenet_gate.h"

namespace melflow::models {
namespace {

using torch::Tensor;

/// work(i, scratch) for every i below count, whichever thread is free; scratch holds `numbers` of its thread.
template <typename Work>
void share_out(int64_t count, int64_t numbers, Work&& work) {
  std::atomic<int64_t> next{0};
  at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t, int64_t) {
    const auto scratch = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(numbers));
    for (int64_t i = next++; i < count; i = next++) work(i, scratch.get());
  });
}

/// Rows of one item of the batch that pass through a layer together: what they need fits the second cache.
struct Chunk {
  int64_t item, begin, end;
  int64_t rows() const { return end - begin; }
};

/// Whole frames of context each.
std::vector<Chunk> chunks_of(const WaveNetSizes& s) {
  constexpr int64_t kRows = 192;
  const auto count = std::min(s.frames, (s.time + kRows - 1) / kRows);
  std::vector<Chunk> out;
  for (int64_t item = 0; item < s.batch; ++item) {
    for (int64_t i = 0; i < count; ++i) {
      out.push_back({item, s.frames * i / count * s.repeat(), s.frames * (i + 1) / count * s.repeat()});
    }
  }
  return out;
}

int64_t longest(const std::vector<Chunk>& chunks) {
  int64_t rows = 0;
  for (const auto& c : chunks) rows = std::max(rows, c.rows());
  return rows;
}

/// c [the chunk's rows] += a [time] · b, of rows `offset` later in time, where there are such.
void add_shifted(const WaveNetSizes& s, const Chunk& chunk, const float* a, int64_t offset, const Panels& b, float* c) {
  const auto begin = std::max(chunk.begin, -offset), end = std::min(chunk.end, s.time - offset);
  if (begin >= end) return;
  add_product(a + (chunk.item * s.time + begin + offset) * b.k(), b.k(), end - begin, b,
              c + (begin - chunk.begin) * b.n(), b.n());
}

class Forward {
 public:
  Forward(const WaveNetSizes& s, const LayerTensors& w) : s_(s), w_(w), residual_(w.out_weight.size(0) - s.outputs) {
    const auto* in = w.in_weight.const_data_ptr<float>();
    for (int64_t k = 0; k < w.kernel(); ++k)
      taps_.emplace_back(in + k, s.channels, 2 * s.channels, w.kernel(), w.kernel() * s.channels);
    const auto* out = w.out_weight.const_data_ptr<float>();
    to_next_ = std::make_unique<Panels>(out, s.channels, residual_, 1, s.channels);
    to_sum_ = std::make_unique<Panels>(out + residual_ * s.channels, s.channels, s.outputs, 1, s.channels);
    conditioning_ =
        std::make_unique<Panels>(w.cond_weight.const_data_ptr<float>(), s.context, 2 * s.channels, 1, s.context);
    bias_ = w.in_bias + w.cond_bias;
  }

  void operator()(const LayerKept& kept, const Tensor& context, const Tensor& next, const Tensor& sum) const {
    const auto chunks = chunks_of(s_);
    const auto c = s_.channels;
    share_out(static_cast<int64_t>(chunks.size()), longest(chunks) * 4 * c, [&](int64_t i, float* u) {
      const auto& chunk = chunks[static_cast<size_t>(i)];
      const auto row = chunk.item * s_.time + chunk.begin, at = row * c;
      start(chunk, context.const_data_ptr<float>(), u, u + chunk.rows() * 2 * c);
      for (size_t k = 0; k < taps_.size(); ++k)
        add_shifted(s_, chunk, kept.h.const_data_ptr<float>(), w_.offset(static_cast<int64_t>(k)), taps_[k], u);
      float* const product = kept.product.data_ptr<float>() + at;
      gate_forward(chunk.rows(), c, u, kept.tanh.data_ptr<float>() + at, kept.sigmoid.data_ptr<float>() + at, product);
      add_product(product, c, chunk.rows(), *to_sum_, sum.data_ptr<float>() + row * s_.outputs, s_.outputs);
      if (residual_ == 0) return;
      float* const to = next.data_ptr<float>() + at;
      const float* const h = kept.h.const_data_ptr<float>() + at;
      const float* const bias = w_.out_bias.const_data_ptr<float>();
      for (int64_t r = 0; r < chunk.rows(); ++r) {
        for (int64_t j = 0; j < c; ++j) to[r * c + j] = h[r * c + j] + bias[j];
      }
      add_product(product, c, chunk.rows(), *to_next_, to, c);
    });
  }

 private:
  /// u = bias + conditioning; frames: scratch of the same size.
  void start(const Chunk& chunk, const float* context, float* u, float* frames) const {
    const auto repeat = s_.repeat(), count = chunk.rows() / repeat, width = 2 * s_.channels;
    float* const product = repeat == 1 ? u : frames;
    const auto* const bias = bias_.const_data_ptr<float>();
    for (int64_t f = 0; f < count; ++f) std::copy_n(bias, width, product + f * width);
    const auto first = chunk.item * s_.frames + chunk.begin / repeat;
    add_product(context + first * s_.context, s_.context, count, *conditioning_, product, width);
    if (repeat == 1) return;
    for (int64_t r = 0; r < chunk.rows(); ++r) std::copy_n(frames + r / repeat * width, width, u + r * width);
  }

  const WaveNetSizes& s_;
  const LayerTensors& w_;
  int64_t residual_;
  std::vector<Panels> taps_;
  std::unique_ptr<Panels> to_next_, to_sum_, conditioning_;
  Tensor bias_;
};

/// A weight's gradient: aᵀ·b over rows of a and those of b `offset` later, item by item of the batch.
struct Correlation {
  const float* a;
  int64_t m;
  const float* b;
  int64_t n;
  int64_t items, rows;
  int64_t offset;
  float* c;  ///< [m, n]
};

void correlate(const std::vector<Correlation>& all) {
  struct Share {
    const Correlation* of;
    int64_t first, columns;
  };
  std::vector<Share> shares;
  const auto width = 2 * panel_columns();  // rows of a, once in the second cache, serve twice
  for (const auto& one : all) {
    for (int64_t n = 0; n < one.n; n += width) shares.push_back({&one, n, std::min(width, one.n - n)});
  }
  share_out(static_cast<int64_t>(shares.size()), 0, [&](int64_t i, float*) {
    const auto [of, first, columns] = shares[static_cast<size_t>(i)];
    const auto begin = std::max<int64_t>(0, -of->offset), end = std::min(of->rows, of->rows - of->offset);
    for (int64_t item = 0; item < of->items && begin < end; ++item) {
      const auto row = item * of->rows + begin;
      add_transposed_product(of->a + row * of->m, of->m, of->m, of->b + (row + of->offset) * of->n + first, of->n,
                             columns, end - begin, of->c + first, of->n);
    }
  });
}

/// Gradients of a layer's tensors; the conditioning's go straight into those of all layers.
class Backward {
 public:
  Backward(const WaveNetSizes& s, const LayerTensors& w) : s_(s), w_(w), residual_(w.out_weight.size(0) - s.outputs) {
    const auto* in = w.in_weight.const_data_ptr<float>();
    for (int64_t k = 0; k < w.kernel(); ++k)
      taps_.emplace_back(in + k, 2 * s.channels, s.channels, w.kernel() * s.channels, w.kernel());
    const auto* out = w.out_weight.const_data_ptr<float>();
    from_next_ = std::make_unique<Panels>(out, residual_, s.channels, s.channels, 1);
    from_sum_ = std::make_unique<Panels>(out + residual_ * s.channels, s.outputs, s.channels, s.channels, 1);
    conditioning_ =
        std::make_unique<Panels>(w.cond_weight.const_data_ptr<float>(), 2 * s.channels, s.context, s.context, 1);
  }

  /// of_h and of_sum → of_u, its sums over the rows of a frame, those of the biases; adds to the context's gradient.
  void through_gate(const LayerKept& kept, const PassedBack& passed) {
    const auto chunks = chunks_of(s_);
    const auto c = s_.channels;
    const auto sums = at::zeros({static_cast<int64_t>(chunks.size()), 3 * c}, kept.h.options());
    share_out(static_cast<int64_t>(chunks.size()), longest(chunks) * c, [&](int64_t i, float* of_product) {
      const auto& chunk = chunks[static_cast<size_t>(i)];
      const auto rows = chunk.rows(), row = chunk.item * s_.time + chunk.begin, at = row * c;
      float* const sum = sums.data_ptr<float>() + i * 3 * c;
      std::fill_n(of_product, rows * c, 0.0f);
      add_product(passed.of_sum.const_data_ptr<float>() + row * s_.outputs, s_.outputs, rows, *from_sum_, of_product,
                  c);
      if (residual_ > 0) {
        add_product(passed.of_h.const_data_ptr<float>() + at, c, rows, *from_next_, of_product, c);
        add_rows(passed.of_h.const_data_ptr<float>() + at, rows, c, sum + 2 * c);
      }
      float* const u = passed.of_u.data_ptr<float>() + 2 * at;
      gate_backward(rows, c, kept.tanh.const_data_ptr<float>() + at, kept.sigmoid.const_data_ptr<float>() + at,
                    of_product, u);
      add_rows(u, rows, 2 * c, sum);
      to_context(chunk, u, passed.of_frames.data_ptr<float>(), passed.of_context.data_ptr<float>());
    });
    const auto whole = sums.sum(0);
    of.in_bias = whole.narrow(0, 0, 2 * c);
    of.residual_bias = whole.narrow(0, 2 * c, residual_);
  }

  void weights(const LayerKept& kept, const PassedBack& passed, const Tensor& of_conditioning) {
    const auto c = s_.channels;
    const auto by_tap = at::zeros({w_.kernel(), 2 * c, c}, kept.h.options());
    of.out_weight = at::zeros_like(w_.out_weight);
    const auto* const h = kept.h.const_data_ptr<float>();
    const auto* const product = kept.product.const_data_ptr<float>();
    float* const out = of.out_weight.data_ptr<float>();
    std::vector<Correlation> all;
    all.push_back({passed.of_frames.const_data_ptr<float>(), 2 * c, passed.context.const_data_ptr<float>(), s_.context,
                   s_.batch, s_.frames, 0, of_conditioning.data_ptr<float>()});
    for (int64_t k = 0; k < w_.kernel(); ++k) {
      all.push_back({passed.of_u.const_data_ptr<float>(), 2 * c, h, c, s_.batch, s_.time, w_.offset(k),
                     by_tap.data_ptr<float>() + k * 2 * c * c});
    }
    if (residual_ > 0) all.push_back({passed.of_h.const_data_ptr<float>(), c, product, c, 1, s_.rows(), 0, out});
    all.push_back(
        {passed.of_sum.const_data_ptr<float>(), s_.outputs, product, c, 1, s_.rows(), 0, out + residual_ * c});
    correlate(all);
    of.in_weight = by_tap.permute({1, 2, 0}).contiguous();
  }

  /// of_h, which holds what goes past the layer, += what goes through it.
  void input(const PassedBack& passed) const {
    const auto chunks = chunks_of(s_);
    share_out(static_cast<int64_t>(chunks.size()), 0, [&](int64_t i, float*) {
      const auto& chunk = chunks[static_cast<size_t>(i)];
      float* const to = passed.of_h.data_ptr<float>() + (chunk.item * s_.time + chunk.begin) * s_.channels;
      for (size_t k = 0; k < taps_.size(); ++k)
        add_shifted(s_, chunk, passed.of_u.const_data_ptr<float>(), -w_.offset(static_cast<int64_t>(k)), taps_[k], to);
    });
  }

  LayerGradients of;

 private:
  void to_context(const Chunk& chunk, const float* of_u, float* of_frames, float* of_context) const {
    const auto repeat = s_.repeat(), count = chunk.rows() / repeat, width = 2 * s_.channels;
    const auto first = chunk.item * s_.frames + chunk.begin / repeat;
    float* const frames = of_frames + first * width;
    if (repeat > 1) {  // otherwise they are of_u itself
      std::fill_n(frames, count * width, 0.0f);
      for (int64_t f = 0; f < count; ++f) add_rows(of_u + f * repeat * width, repeat, width, frames + f * width);
    }
    add_product(frames, width, count, *conditioning_, of_context + first * s_.context, s_.context);
  }

  const WaveNetSizes& s_;
  const LayerTensors& w_;
  int64_t residual_;
  std::vector<Panels> taps_;
  std::unique_ptr<Panels> from_next_, from_sum_, conditioning_;
};

}  // namespace

void layer_forward(const WaveNetSizes& sizes, const LayerTensors& layer, const LayerKept& kept, const Tensor& context,
                   const Tensor& next, const Tensor& sum) {
  Forward(sizes, layer)(kept, context, next, sum);
}

LayerGradients layer_backward(const WaveNetSizes& sizes, const LayerTensors& layer, const LayerKept& kept,
                              const PassedBack& passed, const Tensor& of_conditioning) {
  Backward back(sizes, layer);
  back.through_gate(kept, passed);
  back.weights(kept, passed, of_conditioning);  // before of_h is the next layer's
  back.input(passed);
  return back.of;
}

}  // namespace melflow::models
