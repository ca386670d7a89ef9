#include "models/nets/wavenet_layer.h"

#include <algorithm>
#include <vector>

#include "models/nets/layer_chunks.h"
#include "models/nets/row_loops.h"
#include "models/nets/row_products.h"

namespace melflow::models {
namespace {

using torch::Tensor;

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

}  // namespace

LayerContext::LayerContext(const WaveNetSizes& s, const Tensor& context)
    : values(context), rows(s.precision, values.const_data_ptr<float>(), s.batch * s.frames, s.context) {}

void layer_forward(const WaveNetSizes& sizes, const LayerTensors& layer, const LayerKept& kept,
                   const LayerContext& context, const Tensor& next, const Tensor& sum) {
  Forward(sizes, layer)(kept, context, next, sum);
}

}  // namespace melflow::models
