#include <gtest/gtest.h>

#include <torch/torch.h>

#include "audio/sound_file.h"
#include "engine/files/safetensors.h"
#include "engine/tensors.h"
#include "engine/train/trainer.h"
#include "tests/support/shared.h"

namespace melflow::engine {
namespace {

/// A block voice, whose training adds noise to the past, on a sentence.
TrainConfig config_of(int64_t batch, int64_t parts) {
  const nlohmann::json model{{"system", "block_flow"}, {"encoder_channels", 8}, {"hidden", 12}, {"layers", 1}};
  return parse_train_config({{"model", model}},
                            {"steps=3", "segment_frames=4", "warmup_steps=0", "hold_out_every=0", "sample_every=0",
                             "validation_every=0", "checkpoint_every=0", "epsilon=1e-4",
                             "batch_size=" + std::to_string(batch), "accumulate=" + std::to_string(parts)},
                            "test");
}

torch::OrderedDict<std::string, torch::Tensor> trained(const TrainConfig& config, const std::filesystem::path& run) {
  Trainer trainer(config, load_corpus({MELFLOW_SOURCE_DIR "/data/golden"}, config, [](const std::string&) {}), run,
                  /*resume=*/false);
  trainer.run([] { return false; }, [](const Progress&) {});
  torch::OrderedDict<std::string, torch::Tensor> out;
  for (const auto& p : trainer.model().named_parameters()) out.insert(p.key(), p.value().detach().clone());
  return out;
}

double difference(const torch::OrderedDict<std::string, torch::Tensor>& a,
                  const torch::OrderedDict<std::string, torch::Tensor>& b) {
  double worst = 0;
  for (const auto& p : a) worst = std::max(worst, (p.value() - b[p.key()]).abs().max().item<double>());
  return worst;
}

TEST(TrainingNoise, BelongsToTheCropHoweverABatchIsSharedOut) {
  torch::set_num_threads(1);
  const testing::TempDir folder;
  const auto large = trained(config_of(4, 1), folder / "large"), parts = trained(config_of(2, 2), folder / "parts");
  EXPECT_LT(difference(large, parts), 2e-6);
  auto other_seed = config_of(4, 1);
  other_seed.model["context_noise"] = 0.0;
  EXPECT_GT(difference(large, trained(other_seed, folder / "silent")), 1e-5);  // the noise is there
}

}  // namespace
}  // namespace melflow::engine
