#include "models/maf.h"

#include "models/flow/act_norm.h"
#include "models/flow/batch_norm.h"
#include "models/flow/chain.h"
#include "models/flow/conv1x1.h"
#include "models/flow/permutation.h"

namespace melflow::models {

void append_between(std::vector<std::shared_ptr<Bijection>>& parts, int64_t channels, Mixing mixing, Norm norm) {
  if (norm == Norm::act_norm) parts.push_back(std::make_shared<ActNorm>(channels));
  if (norm == Norm::batch_norm) parts.push_back(std::make_shared<BatchNorm>(channels));
  if (mixing == Mixing::permuted) parts.push_back(std::make_shared<Permutation>(channels));
  if (mixing == Mixing::linear) parts.push_back(std::make_shared<Conv1x1Lu>(channels));
}

std::shared_ptr<Bijection> make_maf(const FlowShape& shape, const MafOptions& o) {
  TORCH_CHECK(!shape.image(), "maf: takes rows of numbers");
  TORCH_CHECK(o.layers > 0, "maf: at least one layer");
  std::vector<std::shared_ptr<Bijection>> parts;
  for (int64_t i = 0; i < o.layers; ++i) {
    if (i > 0) append_between(parts, shape.channels, o.mixing, o.norm);
    parts.push_back(std::make_shared<MaskedAutoregressive>(Made::Options{.dimensions = shape.channels,
                                                                         .hidden = o.hidden,
                                                                         .hidden_layers = o.hidden_layers,
                                                                         .context = shape.context,
                                                                         .reversed = i % 2 == 1},
                                                           o.scale));
  }
  return std::make_shared<Chain>(parts);
}

}  // namespace melflow::models
