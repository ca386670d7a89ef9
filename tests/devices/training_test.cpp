// Trainings on another device than the CPU learn what they learn there, and go on wherever they are taken up again.

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "engine/flow/flow_trainer.h"
#include "tests/devices/places.h"
#include "tests/devices/small_training.h"

namespace melflow::engine {
namespace {

using melflow::testing::expect_same_weights;
using melflow::testing::kPlaces;
using melflow::testing::Place;
using melflow::testing::small_corpus;
using melflow::testing::small_training;
using melflow::testing::TempDir;
using melflow::testing::train;

class TrainingElsewhere : public ::testing::TestWithParam<Place> {
 protected:
  std::filesystem::path run(const std::string& name) const { return folder_ / name; }
  std::shared_ptr<Corpus> corpus(const TrainConfig& c) const { return small_corpus(folder_ / "data", c); }

  TempDir folder_;
};

TEST_P(TrainingElsewhere, OfAVocoderIsThatOfTheCpuAndGoesOnThere) {
  OPEN_OR_SKIP(device, GetParam());
  const nlohmann::json waveglow{{"system", "waveglow"}, {"n_flows", 2},          {"group_size", 16},
                                {"wavenet_layers", 2},  {"wavenet_channels", 8}, {"conditioning", "frame_rate"},
                                {"context_channels", 8}};
  const nlohmann::json block{{"system", "block_flow"}, {"hidden", 16}, {"layers", 1}, {"encoder_channels", 16}};
  for (const auto& model : {waveglow, block}) {
    const auto name = model["system"].get<std::string>();
    const auto c = small_training(model);
    Trainer here(c, corpus(c), run(name + "_here"), false);
    train(here, 4);
    Trainer there(c, corpus(c), run(name + "_there"), false, nullptr, device);
    EXPECT_EQ(there.model().parameters().front().device(), device);
    train(there, 4);
    expect_same_weights(run(name + "_there") / "voice.safetensors", run(name + "_here") / "voice.safetensors");
    EXPECT_NEAR(there.validate(), here.validate(), 1e-4);
    for (const bool begins_there : {true, false}) {
      const auto both = run(name + (begins_there ? "_there_then_here" : "_here_then_there"));
      const auto first = begins_there ? device : torch::Device(torch::kCPU);
      const auto second = begins_there ? torch::Device(torch::kCPU) : device;
      {
        Trainer begun(c, corpus(c), both, false, nullptr, first);
        train(begun, 2);
      }
      Trainer rest(c, corpus(c), both, true, nullptr, second);
      EXPECT_EQ(rest.step(), 2);
      train(rest, 2);
      expect_same_weights(both / "voice.safetensors", run(name + "_here") / "voice.safetensors");
    }
    const auto voice = load_voice(run(name + "_here") / "voice.safetensors");
    Trainer fine_tuned(c, corpus(c), run(name + "_tuned"), false, nullptr, device);
    fine_tuned.start_from(voice);
    EXPECT_NEAR(fine_tuned.validate(), here.validate(), 1e-4);
  }
}

TEST_P(TrainingElsewhere, InBfloat16IsNearlyThatInFloat32) {
  OPEN_OR_SKIP(device, GetParam());
  const nlohmann::json block{{"system", "block_flow"}, {"hidden", 16}, {"layers", 1}, {"encoder_channels", 16}};
  double losses[2];
  for (const auto precision : {TrainPrecision::fp32, TrainPrecision::bf16}) {
    auto c = small_training(block);
    c.precision = precision;
    Trainer trainer(c, corpus(c), run(std::to_string(static_cast<int>(precision))), false, nullptr, device);
    train(trainer, 4);
    EXPECT_EQ(trainer.skipped_steps(), 0);
    losses[static_cast<int>(precision)] = trainer.validate();
  }
  EXPECT_NEAR(losses[1], losses[0], 0.02);
}

TEST_P(TrainingElsewhere, OfAFlowIsThatOfTheCpu) {
  OPEN_OR_SKIP(device, GetParam());
  for (const auto& [system, data] : {std::pair{"maf", "banana"}, {"real_nvp", "two_moons"}, {"planar", "u1"}}) {
    const std::vector<std::string> sets{std::string("model.system=") + system,
                                        std::string("data.path=") + data,
                                        "model.layers=2",
                                        "steps=3",
                                        "batch_size=32",
                                        "epsilon=0.1",
                                        "learning_rate=1e-2",
                                        "validation_every=0"};
    const auto loaded = load_flow_data(parse_flow_data(nlohmann::json::object(), sets, "test"));
    const auto c = parse_flow_config(nlohmann::json::object(), sets, loaded, "test");
    const auto name = std::string(system);
    FlowTrainer here(c, load_flow_data(c.data), run(name + "_here"), false);
    train(here, 3);
    FlowTrainer there(c, load_flow_data(c.data), run(name + "_there"), false, device);
    train(there, 3);
    expect_same_weights(run(name + "_there") / "flow.safetensors", run(name + "_here") / "flow.safetensors");
  }
}

INSTANTIATE_TEST_SUITE_P(All, TrainingElsewhere, ::testing::ValuesIn(kPlaces), ::testing::PrintToStringParamName());

}  // namespace
}  // namespace melflow::engine
