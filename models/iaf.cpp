#include "models/iaf.h"

#include "models/flow/act_norm.h"
#include "models/flow/chain.h"

namespace melflow::models {

std::shared_ptr<Bijection> make_iaf(const FlowShape& shape, const IafOptions& o) {
  const MafOptions maf{.layers = o.layers,
                       .hidden = o.hidden,
                       .hidden_layers = o.hidden_layers,
                       .scale = o.scale,
                       .input_limit = o.input_limit};
  auto base = std::make_shared<ActNorm>(shape.channels, ActNorm::Start::identity);
  return std::make_shared<Chain>(
      std::vector<std::shared_ptr<Bijection>>{std::make_shared<Inverse>(make_maf(shape, maf)), base});
}

}  // namespace melflow::models
