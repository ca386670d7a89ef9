#include "engine/synth/stream.h"

#include <torch/torch.h>

#include "audio/error.h"
#include "engine/synth/block_stream.h"
#include "engine/synth/tiled_stream.h"
#include "engine/synth/waveglow_stream.h"
#include "engine/synth/waveglow_weights.h"
#include "models/waveglow.h"

namespace melflow::engine {

StreamSource::StreamSource(std::shared_ptr<models::Vocoder> model, Precision precision) : model_(std::move(model)) {
  if (const auto* block_flow = dynamic_cast<const models::BlockFlow*>(model_.get())) {
    block_weights_ = std::make_shared<BlockWeights>(*block_flow);
  }
  const auto* waveglow = dynamic_cast<const models::WaveGlow*>(model_.get());
  // The first release's model, whose odd flows swap the halves, goes the plain way: it is rare, and was never fast.
  if (waveglow && !waveglow->options().swap_odd_halves && waveglow->parameters().front().is_cpu()) {
    waveglow_weights_ = std::make_shared<WaveGlowWeights>(*waveglow, precision);
    team_ = std::make_shared<ThreadTeam>(torch::get_num_threads());
  } else if (precision != Precision::fp32) {
    throw Error(Exit::usage, std::string("--precision ") + name_of(precision) +
                                 " is for voices of the WaveGlow kind, on the CPU; leave it out for this one");
  }
}

std::unique_ptr<Stream> StreamSource::open(Noise noise, double sigma) const {
  if (block_weights_) return std::make_unique<BlockStream>(block_weights_, std::move(noise), sigma);
  if (waveglow_weights_) {
    return std::make_unique<WaveGlowStream>(waveglow_weights_, team_, std::move(noise), sigma);
  }
  return std::make_unique<TiledStream>(model_, std::move(noise), sigma);
}

}  // namespace melflow::engine
