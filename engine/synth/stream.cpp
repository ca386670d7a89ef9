#include "engine/synth/stream.h"

#include <algorithm>

#include "base/error.h"
#include "engine/synth/hasty_block_stream.h"
#include "engine/synth/hasty_stream.h"

namespace melflow::engine {
namespace {

using Tensors = std::map<std::string, files::TensorView>;

class WaveGlowSource : public StreamSource {
 public:
  WaveGlowSource(const models::WaveGlowOptions& options, const Tensors& tensors, const PackOptions& pack)
      : weights_(std::make_shared<WaveGlowWeights>(options, tensors, pack.precision)),
        team_(std::make_shared<ThreadTeam>(pack.threads)) {}
  std::unique_ptr<Stream> open(Noise noise, double sigma) const override {
    return std::make_unique<WaveGlowStream>(weights_, team_, std::move(noise), sigma);
  }
  std::unique_ptr<Stream> open_hasty(const Noise& noise, double sigma, int64_t frames) const override {
    const int64_t chunk = hasty_chunk(frames);
    const auto stream = [&](const Noise& z) { return std::make_unique<WaveGlowStream>(weights_, team_, z, sigma); };
    return std::make_unique<HastyStream>(stream(noise), stream(noise.endless()), *weights_, frames - chunk, chunk);
  }

 private:
  std::shared_ptr<const WaveGlowWeights> weights_;
  std::shared_ptr<ThreadTeam> team_;
};

/// Block follows block: a stream is one thread's work.
class BlockSource : public StreamSource {
 public:
  BlockSource(const models::BlockFlowOptions& options, const Tensors& tensors, const PackOptions& pack)
      : weights_(std::make_shared<BlockWeights>(options, tensors)), threads_(pack.threads) {
    if (threads_ > 1) spare_ = std::make_shared<ThreadTeam>(2);
    if (pack.precision == cpu::Precision::fp32) return;
    throw Error(Exit::usage, std::string("--precision ") + name_of(pack.precision) +
                                 " is for voices of the WaveGlow kind, on the CPU; leave it out for this one");
  }
  std::unique_ptr<Stream> open(Noise noise, double sigma) const override {
    return std::make_unique<BlockStream>(weights_, std::move(noise), sigma);
  }
  std::unique_ptr<Stream> open_hasty(const Noise& noise, double sigma, int64_t frames) const override {
    return std::make_unique<HastyBlockStream>(weights_, noise, sigma, weights_->options.first_sample_frames() - frames);
  }
  /// Few for the first second, so that sound begins at once and goes on; then many where there is a thread beside,
  /// which works on pieces.
  int frames_at_once(int64_t given) const override { return given >= 96 && threads_ > 1 ? 192 : 24; }
  int streams_at_once() const override { return threads_; }
  std::shared_ptr<ThreadTeam> spare_thread() const override { return spare_; }

 private:
  std::shared_ptr<const BlockWeights> weights_;
  int threads_;
  std::shared_ptr<ThreadTeam> spare_;
};

std::shared_ptr<const StreamSource> source_of(const models::WaveGlowOptions& o, const Tensors& tensors,
                                              const PackOptions& pack) {
  return std::make_shared<WaveGlowSource>(o, tensors, pack);
}
std::shared_ptr<const StreamSource> source_of(const models::BlockFlowOptions& o, const Tensors& tensors,
                                              const PackOptions& pack) {
  return std::make_shared<BlockSource>(o, tensors, pack);
}

}  // namespace

std::shared_ptr<const StreamSource> packed_source(const ModelOptions& options, const Tensors& tensors,
                                                  PackOptions pack) {
  pack.threads = threads_for(pack.threads);
  return std::visit([&](const auto& o) { return source_of(o, tensors, pack); }, options);
}

}  // namespace melflow::engine
