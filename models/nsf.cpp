#include "models/nsf.h"

#include "models/flow/autoregressive.h"
#include "models/flow/chain.h"
#include "models/flow/coupling.h"
#include "models/nets/mlp.h"

namespace melflow::models {
namespace {

std::shared_ptr<const Transform> transform_of(const NsfOptions& o) {
  const Spline::Options spline{.bins = o.bins, .bound = o.bound};
  if (!o.affine) return std::make_shared<Spline>(spline);
  return affine_and_spline(Scale::tanh, Affine::Order::shift_first, spline);
}

/// What a network says of each number.
int64_t outputs(const NsfOptions& o) { return 3 * o.bins - 1 + (o.affine ? 2 : 0); }

Made::Options made(const FlowShape& shape, const NsfOptions& o, int64_t layer) {
  return {.dimensions = shape.channels,
          .outputs = outputs(o),
          .hidden = o.hidden,
          .hidden_layers = o.hidden_layers,
          .context = shape.context,
          .reversed = layer % 2 == 1,
          .input_limit = o.input_limit};
}

Mlp::Options mlp(const FlowShape& shape, const NsfOptions& o) {
  const auto d = shape.channels;
  return {.in = d / 2,
          .out = outputs(o) * (d - d / 2),
          .hidden = o.hidden,
          .hidden_layers = o.hidden_layers,
          .context = shape.context,
          .input_limit = o.input_limit};
}

std::shared_ptr<Bijection> layer(const FlowShape& shape, const NsfOptions& o, int64_t i,
                                 const std::shared_ptr<const Transform>& transform) {
  if (o.autoregressive) return std::make_shared<MaskedAutoregressive>(made(shape, o, i), transform);
  const auto keep = i % 2 == 0 ? Coupling::Keep::first : Coupling::Keep::last;
  return std::make_shared<Coupling>(shape.channels, std::make_shared<Mlp>(mlp(shape, o)), keep, transform);
}

}  // namespace

double weight_count(const FlowShape& shape, const NsfOptions& o) {
  return static_cast<double>(o.layers) *
             (o.autoregressive ? made(shape, o, 0).weight_count() : mlp(shape, o).weight_count()) +
         static_cast<double>(o.layers - 1) * between_weight_count(shape.channels, o.mixing);
}

std::shared_ptr<Bijection> make_nsf(const FlowShape& shape, const NsfOptions& o) {
  TORCH_CHECK(!shape.image(), "nsf: takes rows of numbers, not images; real_nvp and glow take both");
  TORCH_CHECK(o.layers > 0, "nsf: at least one layer");
  TORCH_CHECK(o.autoregressive || shape.channels >= 2,
              "nsf: couplings need two dimensions at least; one takes --set model.autoregressive=true");
  const auto transform = transform_of(o);
  std::vector<std::shared_ptr<Bijection>> parts;
  for (int64_t i = 0; i < o.layers; ++i) {
    if (i > 0) append_between(parts, shape.channels, o.mixing, o.norm);
    parts.push_back(layer(shape, o, i, transform));
  }
  return std::make_shared<Chain>(parts);
}

}  // namespace melflow::models
