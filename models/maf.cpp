#include "models/maf.h"

#include "models/flow/chain.h"

namespace melflow::models {

namespace {

Made::Options net(const FlowShape& shape, const MafOptions& o, int64_t layer) {
  return {.dimensions = shape.channels,
          .hidden = o.hidden,
          .hidden_layers = o.hidden_layers,
          .context = shape.context,
          .reversed = layer % 2 == 1,
          .input_limit = o.input_limit};
}

}  // namespace

double weight_count(const FlowShape& shape, const MafOptions& o) {
  return static_cast<double>(o.layers) * net(shape, o, 0).weight_count() +
         static_cast<double>(o.layers - 1) * between_weight_count(shape.channels, o.mixing);
}

std::shared_ptr<Bijection> make_maf(const FlowShape& shape, const MafOptions& o) {
  TORCH_CHECK(!shape.image(), "maf: takes rows of numbers, not images; real_nvp and glow take both");
  TORCH_CHECK(o.layers > 0, "maf: at least one layer");
  const auto transform = std::make_shared<Affine>(o.scale, Affine::Order::shift_first);
  std::vector<std::shared_ptr<Bijection>> parts;
  for (int64_t i = 0; i < o.layers; ++i) {
    if (i > 0) append_between(parts, shape.channels, o.mixing, o.norm);
    parts.push_back(std::make_shared<MaskedAutoregressive>(net(shape, o, i), transform));
  }
  return std::make_shared<Chain>(parts);
}

}  // namespace melflow::models
