#include <cmath>
#include <fstream>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "audio/error.h"
#include "engine/files/safetensors.h"
#include "engine/flow/flow_pictures.h"
#include "engine/flow/flow_trainer.h"
#include "engine/flow/registry.h"
#include "tests/engine/reference.h"

namespace melflow::engine {
namespace {

using melflow::testing::TempDir;
using melflow::testing::tensors_of;

class FlowEngine : public ::testing::Test {
 protected:
  void SetUp() override { torch::set_num_threads(1); }
  std::filesystem::path file(const std::string& name) const { return folder_ / name; }

  FlowTrainConfig config(const std::string& data, const std::vector<std::string>& sets) const {
    std::vector<std::string> all{"data.path=" + data};
    all.insert(all.end(), sets.begin(), sets.end());
    const auto loaded = load_flow_data(parse_flow_data(nlohmann::json::object(), all, "test"));
    return parse_flow_config(nlohmann::json::object(), all, loaded, "test");
  }
  FlowTrainer trainer(const FlowTrainConfig& c, const std::string& run, bool resume = false) const {
    return FlowTrainer(c, load_flow_data(c.data), file(run), resume);
  }
  static void train(FlowTrainer& t, int64_t until) {
    t.run([&] { return t.state().step >= until; }, [](const Progress&) {});
  }
  /// A small table: two columns that hang together, on other scales.
  std::string table() const {
    auto random = generator(5);
    const auto z = torch::randn({600, 2}, random, torch::TensorOptions());
    std::ofstream out(file("table.csv"));
    for (int64_t i = 0; i < 600; ++i) {
      const double a = z[i][0].item<double>(), b = z[i][1].item<double>();
      out << 100 + 20 * a << "," << 0.01 * (a * a + 0.3 * b) << "\n";
    }
    return file("table.csv").string();
  }

 private:
  TempDir folder_;
};

TEST_F(FlowEngine, ToysHaveTheEntropyTheySay) {
  for (const auto& toy : toys()) {
    auto random = generator(1);
    const auto nats = -toy.log_prob(toy.sample(40000, random).to(torch::kFloat64));
    const double error = nats.std().item<double>() / std::sqrt(40000.0);
    EXPECT_NEAR(nats.mean().item<double>(), toy.entropy, 4 * error + 2e-4) << toy.name;
  }
}

TEST_F(FlowEngine, EnergiesHaveTheIntegralTheySay) {
  const double side = 9, step = 0.02;
  const auto axis = torch::arange(-side, side, step, torch::kFloat64) + step / 2;
  const auto grid = torch::cartesian_prod({axis, axis});
  for (const auto& energy : energies()) {
    const double log_z = (torch::logsumexp(-energy.energy(grid), 0) + 2 * std::log(step)).item<double>();
    EXPECT_NEAR(log_z, energy.log_normaliser, 2e-4) << energy.name;
  }
}

TEST_F(FlowEngine, EverySystemIsSavedAndOpenedWithItsDensity) {
  for (const auto& system : flow_systems()) {
    torch::manual_seed(2);
    FlowModel model{.name = system, .config = resolved_flow_config({{"system", system}, {"channels", 3}}, "test")};
    model.flow = build_flow(model.config, "test");
    torch::NoGradGuard no_grad;
    model.flow->train();
    model.flow->log_prob(torch::randn({32, 3}));
    for (auto& p : model.flow->parameters()) p.add_(torch::randn_like(p) * 0.1);
    model.flow->eval();
    const auto path = file(system + ".safetensors");
    save_flow(path, model, AtomicFile::Existing::refuse);
    const auto again = load_flow(path);
    EXPECT_EQ(again.config, model.config);
    const auto x = torch::randn({5, 3});
    EXPECT_TRUE(torch::equal(again.flow->log_prob(x), model.flow->log_prob(x))) << system;
    EXPECT_TRUE(torch::equal(sample_flow(again, 0, 4, {}), sample_flow(model, 0, 4, {}))) << system;
  }
}

TEST_F(FlowEngine, AFileThatIsNoFlowIsRefused) {
  const auto refused = [&](const std::map<std::string, std::string>& metadata) {
    const float one = 1;
    files::write_safetensors(file("bad.safetensors"),
                             {{"a", {files::Dtype::f32, {1}, std::as_bytes(std::span(&one, 1))}}}, metadata,
                             AtomicFile::Existing::replace);
    try {
      load_flow(file("bad.safetensors"));
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Exit::bad_data) << e.what();
      return std::string(e.what());
    }
    ADD_FAILURE();
    return std::string();
  };
  refused({});
  refused({{"melflow_flow_version", "9"}});
  refused({{"melflow_flow_version", "1"}, {"flow_config", "{"}});
  refused({{"melflow_flow_version", "1"}, {"flow_config", R"({"system": "no"})"}});
  refused({{"melflow_flow_version", "1"}, {"flow_config", R"({"system": "maf"})"}});
  // A configuration of many gigabytes is refused by the size of the file, before it is built.
  const auto large = refused({{"melflow_flow_version", "1"}, {"flow_config", R"({"system": "maf", "hidden": 65536})"}});
  EXPECT_NE(large.find("weights"), std::string::npos);
}

TEST_F(FlowEngine, UnknownKeysAndNamesAreErrorsWithTheNearest) {
  const auto message = [](const nlohmann::json& c) -> std::string {
    try {
      build_flow(c, "c");
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_NE(message({{"system", "maff"}}).find("'maf'"), std::string::npos);
  EXPECT_NE(message({{"system", "maf"}, {"layer", 3}}).find("'layers'"), std::string::npos);
  EXPECT_NE(message({{"system", "maf"}, {"scale", "tan"}}).find("\"tanh\""), std::string::npos);
  EXPECT_NE(message({{"system", "glow"}, {"channels", 1}}).find("two dimensions"), std::string::npos);
  FlowDataOptions misspelt;
  misspelt.path = "two_moon";
  try {
    load_flow_data(misspelt);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::no_input);
    EXPECT_NE(std::string(e.what()).find("'two_moons'"), std::string::npos);
  }
}

TEST_F(FlowEngine, LearnsAToyToNearlyItsDensity) {
  const auto c = config("banana", {"model.system=real_nvp", "steps=400", "learning_rate=5e-3", "model.layers=4",
                                   "model.hidden=32", "validation_every=200"});
  auto t = trainer(c, "r");
  train(t, 400);
  const auto score = score_flow(load_flow(file("r") / "flow.safetensors"), load_flow_data(c.data), 8000, 3);
  EXPECT_LT(score.gap->mean, 0.08);
  EXPECT_GT(score.gap->mean, -3 * score.gap->standard_error);
  EXPECT_EQ(t.state().skipped_steps, 0);
}

TEST_F(FlowEngine, ComesCloseToAnEnergy) {
  const auto c = config("u1", {"model.system=planar", "model.layers=4", "steps=500", "learning_rate=1e-2"});
  EXPECT_EQ(c.model["closed"], "sampling");
  auto t = trainer(c, "r");
  const double before = t.validate();
  train(t, 500);
  const auto score = score_energy(load_flow(file("r") / "flow.safetensors"), *find_energy("u1"), 4000, 1);
  EXPECT_LT(score.kl.mean, before - 1);
  EXPECT_GT(score.kl.mean, -3 * score.kl.standard_error);
  EXPECT_GT(score.effective_share, 0.05);
}

TEST_F(FlowEngine, StoppedAndResumedEqualsUninterruptedBitForBit) {
  for (const std::string system : {"maf", "glow"}) {
    const auto c = config(table(), {"model.system=" + system, "steps=60", "batch_size=50", "validation_every=10",
                                    "checkpoint_every=1000", "ema=0.9", "model.hidden=8", "patience=100"});
    auto straight = trainer(c, system + "_straight");
    train(straight, 60);
    {
      auto part = trainer(c, system + "_cut");
      train(part, 25);
    }
    auto rest = trainer(c, system + "_cut", true);
    EXPECT_EQ(rest.state().step, 25);
    train(rest, 60);
    for (const char* name : {"checkpoints/step-60.safetensors", "flow.safetensors"}) {
      const auto a = tensors_of(file(system + "_straight") / name), b = tensors_of(file(system + "_cut") / name);
      ASSERT_EQ(a.size(), b.size());
      for (const auto& [key, tensor] : a) EXPECT_TRUE(torch::equal(tensor, b.at(key))) << name << " " << key;
    }
  }
}

TEST_F(FlowEngine, EarlyStoppingKeepsTheBest) {
  // Fifty rows and a large network: it learns them by heart, and the validation gets worse.
  std::ofstream(file("few.csv")) << [] {
    std::string text;
    auto random = generator(3);
    const auto x = torch::randn({60, 4}, random, torch::TensorOptions());
    for (int64_t i = 0; i < 60; ++i) {
      for (int64_t j = 0; j < 4; ++j) text += std::to_string(x[i][j].item<float>()) + (j < 3 ? "," : "\n");
    }
    return text;
  }();
  const auto c = config(file("few.csv"), {"model.system=maf", "steps=3000", "batch_size=50", "validation_every=10",
                                          "patience=5", "hold_out=0.2", "learning_rate=5e-3"});
  auto t = trainer(c, "r");
  train(t, 3000);
  EXPECT_TRUE(t.out_of_patience());
  EXPECT_LT(t.state().step, 3000);
  EXPECT_GT(t.validate(), t.state().best);
  // Going on with it changes nothing: it has ended.
  const auto step = t.state().step;
  auto again = trainer(c, "r", true);
  train(again, 3000);
  EXPECT_EQ(again.state().step, step);
}

TEST_F(FlowEngine, NatsAreThoseOfTheDatasOwnUnits) {
  const auto c = config(table(), {"model.system=real_nvp", "steps=300", "model.hidden=32", "patience=0"});
  auto t = trainer(c, "r");
  train(t, 300);
  const auto model = load_flow(file("r") / "flow.safetensors");
  const auto score = score_flow(model, load_flow_data(c.data), 0, 0);
  EXPECT_EQ(score.items, 600);
  // a ~ N(100, 20²), b | a ~ N(0.01 a'², 0.003²): the truth in closed form.
  const double truth = -std::log(2 * M_PI * M_E) - std::log(20) - std::log(0.003);
  EXPECT_NEAR(score.nats.mean, truth, 0.15);
  EXPECT_NEAR(*score.standardised_nats - score.nats.mean, std::log(20) + std::log(0.01 * std::sqrt(2.09)), 0.25);
}

TEST_F(FlowEngine, SamplesDoNotDependOnHowTheyAreSplit) {
  FlowModel model{.name = "m", .config = resolved_flow_config({{"system", "maf"}, {"channels", 3}}, "test")};
  torch::manual_seed(1);
  model.flow = build_flow(model.config, "test");
  model.flow->eval();
  const auto all = sample_flow(model, 0, 1500, {.seed = 7});
  const auto split = torch::cat({sample_flow(model, 0, 500, {.seed = 7}), sample_flow(model, 500, 1000, {.seed = 7})});
  EXPECT_LT((all - split).abs().max().item<double>(), 1e-5);
  EXPECT_GT((all - sample_flow(model, 0, 1500, {.seed = 8})).abs().max().item<double>(), 1);
  EXPECT_NEAR(sample_flow(model, 0, 1500, {.temperature = 0.5, .seed = 7}).std().item<double>(),
              all.std().item<double>() / 2, 0.05);
}

class DigitLikeImages : public FlowEngine {
 protected:
  /// Images 4x4 of 8 levels: class 0 is bright on the left, class 1 on the right.
  std::string images() const {
    auto random = generator(9);
    std::ofstream out(file("images.csv"));
    for (int64_t i = 0; i < 400; ++i) {
      const auto noise = torch::randint(0, 3, {16}, random, torch::TensorOptions());
      for (int64_t p = 0; p < 16; ++p) {
        const bool bright = (p % 4 < 2) == (i % 2 == 0);
        out << (bright ? 5 : 0) + noise[p].item<int64_t>() << ",";
      }
      out << i % 2 << "\n";
    }
    return file("images.csv").string();
  }
  FlowTrainConfig image_config(const std::string& system, int steps) const {
    return config(images(), {"model.system=" + system, "data.height=4", "data.width=4", "data.label_column=last",
                             "conditional=1", "model.pixel_levels=8", "model.hidden=16", "patience=0", "batch_size=64",
                             "steps=" + std::to_string(steps)});
  }
};

TEST_F(DigitLikeImages, ClassesComeOutAsTheyWentIn) {
  for (const std::string system : {"glow", "real_nvp"}) {
    const auto c = image_config(system, 250);
    EXPECT_EQ(c.model["context"], 2);
    auto t = trainer(c, system);
    train(t, 250);
    const auto model = load_flow(file(system) / "flow.safetensors");
    const auto score = score_flow(model, load_flow_data(c.data), 0, 0);
    EXPECT_LT(score.bits_per_dimension->mean, 2.2) << "ln 3 alone is 1.58 bits, 8 levels are 3";
    EXPECT_GT(score.bits_per_dimension->mean, 1.5);
    for (const int64_t label : {0, 1}) {
      const auto x = sample_flow(model, 0, 50, {.seed = 1, .label = label}).view({50, 4, 4});
      const auto left = x.slice(2, 0, 2).flatten(1).sum(1), right = x.slice(2, 2, 4).flatten(1).sum(1);
      const auto right_way = (label == 0 ? left > right : right > left).sum().item<int64_t>();
      EXPECT_GE(right_way, 47) << system << label;
      EXPECT_TRUE((x == x.floor()).all().item<bool>());
      EXPECT_LE(x.max().item<float>(), 7);
    }
    EXPECT_EQ(picture_images(model, sample_flow(model, 0, 20, {}), 5).width, 5 * (40 + 2) + 2);
    EXPECT_THROW(sample_flow(model, 0, 1, {.label = 2}), Error);
  }
}

TEST_F(DigitLikeImages, PixelsOutsideTheLevelsAreRefused) {
  auto c = image_config("glow", 1);
  c.model["pixel_levels"] = 4;
  EXPECT_THROW(trainer(c, "r"), Error);
}

TEST_F(FlowEngine, PicturesOfTheLearnedPlane) {
  const auto c = config("two_moons", {"model.system=real_nvp", "steps=30", "validation_every=10"});
  auto t = trainer(c, "r");
  train(t, 30);
  const auto model = load_flow(file("r") / "flow.safetensors");
  const auto data = load_flow_data(c.data);
  const auto inked = [](const files::Image& image) {
    return std::count_if(image.pixels.begin(), image.pixels.end(), [](uint8_t p) { return p < 200; });
  };
  EXPECT_GT(inked(picture_samples(model, data, 500, 1)), 1000);
  EXPECT_GT(inked(picture_density(model, data)), 1000);
  EXPECT_GT(inked(picture_grid(model, data)), 1000);
  EXPECT_GT(inked(picture_training(file("r"))), 500);
  EXPECT_THROW(picture_training(file("nothing")), Error);
}

TEST_F(FlowEngine, MnistIsRead) {
  const std::string folder = "data/density/mnist_t10k/";
  REQUIRE_SHARED(folder);
  FlowDataOptions options;
  options.path = melflow::testing::shared(folder + "t10k-images-idx3-ubyte.gz").string();
  options.labels = melflow::testing::shared(folder + "t10k-labels-idx1-ubyte.gz").string();
  const auto data = load_flow_data(options);
  EXPECT_EQ(data.x.sizes(), torch::IntArrayRef({10000, 1, 28, 28}));
  EXPECT_EQ(data.classes(), 10);
  EXPECT_EQ(data.labels[0].item<int64_t>(), 7);  // the first test image is a seven
  EXPECT_EQ(data.x.max().item<float>(), 255);
}

}  // namespace
}  // namespace melflow::engine
