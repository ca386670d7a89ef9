#include "models/flow/between.h"

#include "models/flow/act_norm.h"
#include "models/flow/batch_norm.h"
#include "models/flow/conv1x1.h"
#include "models/flow/permutation.h"

namespace melflow::models {

void append_between(std::vector<std::shared_ptr<Bijection>>& parts, int64_t channels, Mixing mixing, Norm norm) {
  if (norm == Norm::act_norm) parts.push_back(std::make_shared<ActNorm>(channels));
  if (norm == Norm::batch_norm) parts.push_back(std::make_shared<BatchNorm>(channels));
  if (mixing == Mixing::permuted) parts.push_back(std::make_shared<Permutation>(channels));
  if (mixing == Mixing::linear) parts.push_back(std::make_shared<Conv1x1Lu>(channels));
}

double between_weight_count(int64_t channels, Mixing mixing) {
  return mixing == Mixing::linear ? Conv1x1Lu::weight_count(channels) : 0;
}

}  // namespace melflow::models
