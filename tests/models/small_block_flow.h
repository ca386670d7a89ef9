#pragma once

#include <memory>

#include <torch/torch.h>

#include "models/block_flow.h"
#include "tests/models/bijection_checks.h"

namespace melflow::testing {

/// The sizes of a BlockFlow with every part, as small as it goes.
inline models::BlockFlowOptions small_block_flow_options() {
  return {.n_mels = 6,
          .hop_length = 16,
          .group_size = 8,
          .filter_taps = 24,
          .cepstrum = 12,
          .encoder_channels = 8,
          .hidden = 10,
          .layers = 1,
          .past = 48,
          .lags = 24,
          .correlation = 12};
}

/// One of these sizes with a filterbank, away from its starting values, in evaluation mode.
inline std::shared_ptr<models::BlockFlow> small_block_flow(double scale = 0.05) {
  auto flow = std::make_shared<models::BlockFlow>(small_block_flow_options());
  flow->set_filterbank(torch::rand({6, models::BlockFlow::kFft / 2 + 1}));
  shake(*flow, scale);
  flow->eval();
  return flow;
}

}  // namespace melflow::testing
