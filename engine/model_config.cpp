#include "engine/model_config.h"

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "models/block_flow.h"
#include "models/waveglow.h"

namespace melflow::engine {
namespace {

std::shared_ptr<models::Vocoder> build(const models::WaveGlowOptions& o) {
  return std::make_shared<models::WaveGlow>(o);
}
std::shared_ptr<models::Vocoder> build(const models::BlockFlowOptions& o) {
  return std::make_shared<models::BlockFlow>(o);
}

}  // namespace

std::shared_ptr<models::Vocoder> build_vocoder(const ModelOptions& options) {
  return std::visit([](const auto& o) { return build(o); }, options);
}

std::shared_ptr<models::Vocoder> build_vocoder(const nlohmann::json& config, const std::string& name,
                                               double most_weights) {
  const auto options = parse_model_options(config, name);
  require_weights(options, most_weights, name);
  return build_vocoder(options);
}

ModelOptions options_of(const models::Vocoder& model) {
  if (const auto* waveglow = dynamic_cast<const models::WaveGlow*>(&model)) return waveglow->options();
  if (const auto* block_flow = dynamic_cast<const models::BlockFlow*>(&model)) return block_flow->options();
  TORCH_CHECK(false, "options_of: a model of no known system");
}

}  // namespace melflow::engine
