#include "models/nets/wavenet_layer.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <span>
#include <vector>

#include "models/nets/row_loops.h"
#include "models/nets/row_products.h"

namespace melflow::models {
namespace {

using torch::Tensor;

/// work(i, scratch) for every i below count, whichever thread is free, with scratch() of its own.
template <typename Scratch, typename Work>
void share_out(int64_t count, Scratch&& scratch, Work&& work) {
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min<int64_t>(count, at::get_num_threads()), 1, [&](int64_t, int64_t) {
    auto own = scratch();
    for (int64_t i = next++; i < count; i = next++) work(i, own);
  });
}

/// Rows of one item of the batch that pass through a layer together: what they need fits the second cache.
struct Chunk {
  int64_t item, begin, end;
  int64_t rows() const { return end - begin; }
};

/// Whole frames of context each.
std::vector<Chunk> chunks_of(const WaveNetSizes& s) {
  const auto rows = s.precision == cpu::Precision::fp32 ? cpu::kTileRows : cpu::tile_kernels().tile_rows;
  const auto count = std::min(s.frames, (s.time + rows - 1) / rows);
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

/// Rows that a dilated convolution reads on each side of a chunk.
int64_t side_of(const LayerTensors& w) { return w.dilation * (w.kernel() - 1) / 2; }

int64_t panel_width() { return cpu::tile_kernels().width; }

/// A panel's sums for so many rows.
cpu::AlignedFloats sums_for(int64_t rows) { return cpu::AlignedFloats(static_cast<size_t>(rows * panel_width())); }

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

class Forward {
 public:
  Forward(const WaveNetSizes& s, const LayerTensors& w) : s_(s), w_(w), residual_(w.out_weight.size(0) - s.outputs) {
    const auto c = s.channels;
    std::vector<MatrixPart> gate{{w.cond_weight.const_data_ptr<float>(), s.context, 1, s.context}};
    for (int64_t k = 0; k < w.kernel(); ++k)
      gate.push_back({w.in_weight.const_data_ptr<float>() + k, c, w.kernel(), w.kernel() * c});
    const Tensor bias = w.in_bias + w.cond_bias;
    gate_ = pack_matrix(s.precision, gate, 2 * c, bias.const_data_ptr<float>(), ColumnOrder::gates);
    const MatrixPart out{w.out_weight.const_data_ptr<float>(), c, 1, c};
    // The sum has its bias.
    const auto out_bias = at::cat({w.out_bias.narrow(0, 0, residual_), at::zeros({s.outputs}, bias.options())});
    out_ = pack_matrix(s.precision, {&out, 1}, residual_ + s.outputs, out_bias.const_data_ptr<float>());
  }

  void operator()(const LayerKept& kept, const LayerContext& context, const Tensor& next, const Tensor& sum) const {
    const auto chunks = chunks_of(s_);
    const auto rows = longest(chunks);
    share_out(
        std::ssize(chunks), [&] { return Scratch(s_, rows, side_of(w_)); },
        [&](int64_t i, Scratch& own) {
          const auto& chunk = chunks[static_cast<size_t>(i)];
          through_gate(chunk, kept, context.rows.from(chunk.item * s_.frames + chunk.begin / s_.repeat()), own);
          out(chunk, kept, next.defined() ? next.data_ptr<float>() : nullptr, sum.data_ptr<float>(), own);
        });
  }

 private:
  struct Scratch {
    Scratch(const WaveNetSizes& s, int64_t rows, int64_t side)
        : h(s.precision, rows + 2 * side, s.channels),
          product(s.precision, rows, s.channels),
          sums(sums_for(rows)),
          frame_sums(sums_for(s.repeat() == 1 ? 0 : rows / s.repeat())) {}
    PackedRows h, product;
    cpu::AlignedFloats sums, frame_sums;
  };

  void through_gate(const Chunk& chunk, const LayerKept& kept, const std::byte* const* context, Scratch& own) const {
    const auto c = s_.channels, rows = chunk.rows(), at = (chunk.item * s_.time + chunk.begin) * c;
    const auto side = side_of(w_), half = panel_width() / 2;
    own.h.take(kept.h.const_data_ptr<float>() + chunk.item * s_.time * c, s_.time, chunk.begin - side,
               chunk.end + side);
    float* const u = own.sums.data();
    for (int p = 0; p < gate_.panels(); ++p) {
      start(p, context, rows, own, u);
      gate_.add(p, {1, static_cast<int>(w_.kernel()), own.h.from(), w_.dilation}, static_cast<int>(rows), u);
      const auto first = p * half;
      gate_forward(rows, std::min(half, c - first), u, half, kept.tanh.data_ptr<float>() + at + first,
                   kept.sigmoid.data_ptr<float>() + at + first, kept.product.data_ptr<float>() + at + first, c);
    }
  }

  /// u = bias + conditioning, of one panel.
  void start(int panel, const std::byte* const* context, int64_t rows, Scratch& own, float* u) const {
    const auto repeat = s_.repeat(), width = panel_width();
    float* const frames = repeat == 1 ? u : own.frame_sums.data();
    gate_.start(panel, static_cast<int>(rows / repeat), frames);
    gate_.add(panel, {0, 1, context, 0}, static_cast<int>(rows / repeat), frames);
    if (repeat == 1) return;
    for (int64_t r = 0; r < rows; ++r) std::copy_n(frames + r / repeat * width, width, u + r * width);
  }

  /// next = h + bias + product·R, sum += product·S, of one matrix: R's columns, then S's.
  void out(const Chunk& chunk, const LayerKept& kept, float* next, float* sum, Scratch& own) const {
    const auto c = s_.channels, rows = chunk.rows(), row = chunk.item * s_.time + chunk.begin, width = panel_width();
    own.product.take(kept.product.const_data_ptr<float>() + row * c, rows, 0, rows);
    const float* const h = kept.h.const_data_ptr<float>() + row * c;
    float *const sums = own.sums.data(), *const to_sum = sum + row * s_.outputs;
    for (int p = 0; p < out_.panels(); ++p) {
      out_.start(p, static_cast<int>(rows), sums);
      out_.add(p, own.product.from(), static_cast<int>(rows), sums);
      const auto first = p * width, end = std::min(first + width, residual_ + s_.outputs);
      const auto split = std::clamp(residual_, first, end);
      if (first < split) add_sums(rows, split - first, h + first, c, sums, width, next + row * c + first, c);
      float* const to = to_sum + split - residual_;
      if (split < end) add_sums(rows, end - split, to, s_.outputs, sums + split - first, width, to, s_.outputs);
    }
  }

  const WaveNetSizes& s_;
  const LayerTensors& w_;
  int64_t residual_;
  cpu::PanelMatrix gate_;  // the conditioning's rows, then each tap's
  cpu::PanelMatrix out_;   // columns of the residual, then of the sum
};

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

LayerContext::LayerContext(const WaveNetSizes& s, const Tensor& context)
    : values(context), rows(s.precision, values.const_data_ptr<float>(), s.batch * s.frames, s.context) {}

void layer_forward(const WaveNetSizes& sizes, const LayerTensors& layer, const LayerKept& kept,
                   const LayerContext& context, const Tensor& next, const Tensor& sum) {
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
