#include "engine/synth/stream.h"

#include <algorithm>

#include "engine/synth/block_stream.h"
#include "engine/synth/hasty_stream.h"

namespace melflow::engine {
namespace {

using Tensors = std::map<std::string, files::TensorView>;

class WaveGlowSource : public StreamSource {
 public:
  WaveGlowSource(const models::WaveGlowOptions& options, const Tensors& tensors, int threads)
      : weights_(std::make_shared<WaveGlowWeights>(options, tensors)), team_(std::make_shared<ThreadTeam>(threads)) {}
  std::unique_ptr<Stream> open(Noise noise, double sigma) const override {
    return std::make_unique<WaveGlowStream>(weights_, team_, std::move(noise), sigma);
  }
  std::unique_ptr<Stream> open_hasty(const Noise& noise, double sigma, int64_t frames) const override {
    const int64_t chunk = std::max<int64_t>(1, frames / 4);  // each costs a run through the whole reach
    const auto stream = [&](const Noise& z) { return std::make_unique<WaveGlowStream>(weights_, team_, z, sigma); };
    return std::make_unique<HastyStream>(stream(noise), stream(noise.endless()), *weights_, frames - chunk, chunk);
  }

 private:
  std::shared_ptr<const WaveGlowWeights> weights_;
  std::shared_ptr<ThreadTeam> team_;
};

/// Block follows block: one thread has all there is to do.
class BlockSource : public StreamSource {
 public:
  BlockSource(const models::BlockFlowOptions& options, const Tensors& tensors, int /*threads*/)
      : weights_(std::make_shared<BlockWeights>(options, tensors)) {}
  std::unique_ptr<Stream> open(Noise noise, double sigma) const override {
    return std::make_unique<BlockStream>(weights_, std::move(noise), sigma);
  }

 private:
  std::shared_ptr<const BlockWeights> weights_;
};

std::shared_ptr<const StreamSource> source_of(const models::WaveGlowOptions& o, const Tensors& tensors, int threads) {
  return std::make_shared<WaveGlowSource>(o, tensors, threads);
}
std::shared_ptr<const StreamSource> source_of(const models::BlockFlowOptions& o, const Tensors& tensors, int threads) {
  return std::make_shared<BlockSource>(o, tensors, threads);
}

}  // namespace

std::shared_ptr<const StreamSource> packed_source(const ModelOptions& options, const Tensors& tensors, int threads) {
  const int team = threads > 0 ? threads : default_threads();
  return std::visit([&](const auto& o) { return source_of(o, tensors, team); }, options);
}

}  // namespace melflow::engine
