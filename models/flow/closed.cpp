#include "models/flow/closed.h"

#include "models/flow/act_norm.h"
#include "models/flow/chain.h"

namespace melflow::models {

std::shared_ptr<Bijection> closed_stack(const std::vector<std::shared_ptr<Bijection>>& layers, Closed closed,
                                        int64_t channels) {
  std::shared_ptr<Bijection> stack = std::make_shared<Chain>(layers);
  if (closed == Closed::sampling) stack = std::make_shared<Inverse>(stack);
  auto base = std::make_shared<ActNorm>(channels, ActNorm::Start::identity);
  return std::make_shared<Chain>(std::vector<std::shared_ptr<Bijection>>{stack, base});
}

}  // namespace melflow::models
