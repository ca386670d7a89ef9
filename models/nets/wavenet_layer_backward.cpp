#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "models/nets/layer_chunks.h"
#include "models/nets/row_loops.h"
#include "models/nets/row_products.h"
#include "models/nets/wavenet_layer.h"

namespace melflow::models {
namespace {

using torch::Tensor;

/// to [count, n] += segments of rows · theirs of the matrix.
void add_product(const cpu::PanelMatrix& matrix, const cpu::PanelMatrix::Segments& segments, int64_t count, float* sums,
                 float* to, int64_t n) {
  const auto width = panel_width();
  for (int p = 0; p < matrix.panels(); ++p, to += width) {
    matrix.start(p, static_cast<int>(count), sums);
    matrix.add(p, segments, static_cast<int>(count), sums);
    add_sums(count, std::min(width, n - p * width), to, n, sums, width, to, n);
  }
}

/// Gradients of a layer's tensors; the conditioning's go straight into those of all layers.
class Backward {
 public:
  Backward(const WaveNetSizes& s, const LayerTensors& w)
      : s_(s), w_(w), residual_(w.out_weight.size(0) - s.outputs), chunks_(chunks_of(s)), rows_(longest(chunks_)) {
    const auto c = s.channels;
    const auto* out = w.out_weight.const_data_ptr<float>();
    const MatrixPart of_out[] = {{out, residual_, c, 1}, {out + residual_ * c, s.outputs, c, 1}};
    from_out_ = pack_matrix(s.precision, of_out, c);
    std::vector<MatrixPart> taps;  // the last is read from the earliest row
    for (int64_t k = w.kernel(); k-- > 0;)
      taps.push_back({w.in_weight.const_data_ptr<float>() + k, 2 * c, w.kernel() * c, w.kernel()});
    taps_ = pack_matrix(s.precision, taps, c);
    const MatrixPart conditioning{w.cond_weight.const_data_ptr<float>(), 2 * c, s.context, 1};
    conditioning_ = pack_matrix(s.precision, {&conditioning, 1}, s.context);
  }

  /// of_h and of_sum → of_u, its sums over the rows of a frame, and those of the biases.
  void through_gate(const LayerKept& kept, const PassedBack& passed) {
    const auto c = s_.channels;
    const auto sums = at::zeros({std::ssize(chunks_), 3 * c}, kept.h.options());
    share_out(
        std::ssize(chunks_), [&] { return OfOut(s_, rows_); },
        [&](int64_t i, OfOut& own) {
          through_gate(chunks_[static_cast<size_t>(i)], kept, passed, own, sums.data_ptr<float>() + i * 3 * c);
        });
    const auto whole = sums.sum(0);
    of.in_bias = whole.narrow(0, 0, 2 * c);
    of.residual_bias = whole.narrow(0, 2 * c, residual_);
  }

  void weights(const LayerKept& kept, const PassedBack& passed, const Tensor& of_conditioning) {
    const auto c = s_.channels;
    const auto by_tap = at::zeros({w_.kernel(), 2 * c, c}, kept.h.options());
    const auto of_rows = [&](const Tensor& a, int64_t m, int64_t rows, std::span<const Correlated> with) {
      correlate(s_.precision, a.const_data_ptr<float>(), m, s_.batch, rows, with);
    };
    const Correlated of_taps{
        kept.h.const_data_ptr<float>(), c, by_tap.data_ptr<float>(), w_.kernel(), w_.offset(0), w_.dilation};
    auto of_context = passed.context;
    of_context.of_weight = of_conditioning.data_ptr<float>();
    if (s_.repeat() == 1) {
      of_rows(passed.of_u, 2 * c, s_.time, std::array{of_taps, of_context});
    } else {
      of_rows(passed.of_u, 2 * c, s_.time, {&of_taps, 1});
      of_rows(passed.of_frames, 2 * c, s_.frames, {&of_context, 1});
    }
    // The other way round: the product, which both want, is turned once.
    const auto of_residual = at::zeros({c, residual_}, kept.h.options()),
               of_sum = at::zeros({c, s_.outputs}, kept.h.options());
    const Correlated of_out[] = {{passed.of_sum.const_data_ptr<float>(), s_.outputs, of_sum.data_ptr<float>()},
                                 {passed.of_h.const_data_ptr<float>(), c, of_residual.data_ptr<float>()}};
    of_rows(kept.product, c, s_.time, std::span(of_out).first(residual_ > 0 ? 2 : 1));
    of.out_weight = at::cat({of_residual, of_sum}, 1).t().contiguous();
    of.in_weight = by_tap.permute({1, 2, 0}).contiguous();
  }

  /// of_h, which holds what goes past the layer, += what goes through it; of_context += its part.
  void input(const PassedBack& passed) const {
    share_out(
        std::ssize(chunks_), [&] { return OfU(s_, rows_, side_of(w_)); },
        [&](int64_t i, OfU& own) { input(chunks_[static_cast<size_t>(i)], passed, own); });
  }

  LayerGradients of;

 private:
  struct OfOut {
    OfOut(const WaveNetSizes& s, int64_t rows)
        : of_h(s.precision, rows, s.channels), of_sum(s.precision, rows, s.outputs), sums(sums_for(rows)) {}
    PackedRows of_h, of_sum;
    cpu::AlignedFloats sums;
  };
  struct OfU {
    OfU(const WaveNetSizes& s, int64_t rows, int64_t side)
        : of_u(s.precision, rows + 2 * side, 2 * s.channels),
          of_frames(s.precision, rows / s.repeat(), 2 * s.channels),
          sums(sums_for(rows)) {}
    PackedRows of_u, of_frames;
    cpu::AlignedFloats sums;
  };

  void through_gate(const Chunk& chunk, const LayerKept& kept, const PassedBack& passed, OfOut& own,
                    float* bias_sums) const {
    const auto c = s_.channels, rows = chunk.rows(), row = chunk.item * s_.time + chunk.begin, at = row * c;
    own.of_sum.take(passed.of_sum.const_data_ptr<float>() + row * s_.outputs, rows, 0, rows);
    if (residual_ > 0) {
      own.of_h.take(passed.of_h.const_data_ptr<float>() + at, rows, 0, rows);
      add_rows(passed.of_h.const_data_ptr<float>() + at, rows, c, bias_sums + 2 * c);
    }
    float* const of_product = own.sums.data();
    float* const u = passed.of_u.data_ptr<float>() + 2 * at;
    for (int p = 0; p < from_out_.panels(); ++p) {
      from_out_.start(p, static_cast<int>(rows), of_product);
      if (residual_ > 0) from_out_.add(p, {0, 1, own.of_h.from(), 0}, static_cast<int>(rows), of_product);
      from_out_.add(p, {1, 1, own.of_sum.from(), 0}, static_cast<int>(rows), of_product);
      const auto first = p * panel_width();
      gate_backward(rows, std::min(panel_width(), c - first), kept.tanh.const_data_ptr<float>() + at + first,
                    kept.sigmoid.const_data_ptr<float>() + at + first, c, of_product, panel_width(), u + first);
    }
    add_rows(u, rows, 2 * c, bias_sums);
    if (s_.repeat() == 1) return;  // of_frames is of_u
    const auto repeat = s_.repeat(), width = 2 * c;
    float* frame = passed.of_frames.data_ptr<float>() + row / repeat * width;
    std::fill_n(frame, rows / repeat * width, 0.0f);
    for (int64_t r = 0; r < rows; r += repeat, frame += width) add_rows(u + r * width, repeat, width, frame);
  }

  void input(const Chunk& chunk, const PassedBack& passed, OfU& own) const {
    const auto c = s_.channels, rows = chunk.rows(), row = chunk.item * s_.time + chunk.begin, side = side_of(w_);
    own.of_u.take(passed.of_u.const_data_ptr<float>() + chunk.item * s_.time * 2 * c, s_.time, chunk.begin - side,
                  chunk.end + side);
    float* const sums = own.sums.data();
    add_product(taps_, {0, static_cast<int>(w_.kernel()), own.of_u.from(), w_.dilation}, rows, sums,
                passed.of_h.data_ptr<float>() + row * c, c);
    const auto repeat = s_.repeat(), frame = row / repeat;
    auto* const of_context = passed.of_context.data_ptr<float>() + frame * s_.context;
    if (repeat > 1)
      own.of_frames.take(passed.of_frames.const_data_ptr<float>() + frame * 2 * c, rows / repeat, 0, rows / repeat);
    add_product(conditioning_, {0, 1, repeat == 1 ? own.of_u.from(side) : own.of_frames.from(), 0}, rows / repeat, sums,
                of_context, s_.context);
  }

  const WaveNetSizes& s_;
  const LayerTensors& w_;
  int64_t residual_;
  std::vector<Chunk> chunks_;
  int64_t rows_;  // of the longest chunk
  cpu::PanelMatrix from_out_, taps_, conditioning_;
};

}  // namespace

LayerGradients layer_backward(const WaveNetSizes& sizes, const LayerTensors& layer, const LayerKept& kept,
                              const PassedBack& passed, const Tensor& of_conditioning) {
  Backward back(sizes, layer);
  back.through_gate(kept, passed);
  back.weights(kept, passed, of_conditioning);  // before of_h is the next layer's
  back.input(passed);
  return back.of;
}

}  // namespace melflow::models
