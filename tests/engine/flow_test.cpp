#include <cmath>
#include <fstream>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/files/safetensors.h"
#include "engine/flow/flow_pictures.h"
#include "engine/flow/flow_score.h"
#include "engine/flow/flow_trainer.h"
#include "engine/flow/registry.h"
#include "engine/tensors.h"
#include "tests/engine/flow_fixture.h"
#include "tests/support/refusal.h"

namespace melflow::engine {
namespace {

TEST_F(FlowEngine, ToysHaveTheEntropyTheySay) {
  for (const auto& toy : toys()) {
    auto random = generator(1);
    const auto nats = -toy.log_prob(toy.sample(40000, random).to(torch::kFloat64));
    const double error = nats.std().item<double>() / std::sqrt(40000.0);
    EXPECT_NEAR(nats.mean().item<double>(), toy.entropy, 4 * error + 2e-4) << toy.name;
  }
}

TEST_F(FlowEngine, AnotherSeedIsScoredByOtherPoints) {
  torch::manual_seed(2);
  FlowModel model{.name = "test", .config = resolved_flow_config({{"system", "real_nvp"}, {"channels", 2}}, "test")};
  model.flow = build_flow(model.config, "test");
  model.flow->eval();
  FlowDataOptions options;
  options.path = "two_moons";
  const auto data = load_flow_data(options);
  const auto some = score_flow(model, data, 2048, 0).log_prob, others = score_flow(model, data, 1024, 1024).log_prob;
  EXPECT_FALSE(std::equal(others.begin(), others.end(), some.begin() + 1024));
  EXPECT_EQ(some, score_flow(model, data, 2048, 0).log_prob);
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
    const auto refusal = testing::refusal_of([&] { load_flow(file("bad.safetensors")); });
    EXPECT_EQ(refusal.code, Exit::bad_data) << refusal.message;
    return refusal.message;
  };
  refused({});
  refused({{"melflow_flow_version", "9"}});
  refused({{"melflow_flow_version", "1"}, {"flow_config", "{"}});
  refused({{"melflow_flow_version", "1"}, {"flow_config", R"({"system": "no"})"}});
  refused({{"melflow_flow_version", "1"}, {"flow_config", R"({"system": "maf"})"}});
  // A configuration of many gigabytes is refused by the size of the file, before it is built.
  for (const auto* large :
       {R"({"system": "maf", "hidden": 65536})", R"({"system": "glow", "channels": 65536, "steps": 1, "hidden": 1})",
        R"({"system": "real_nvp", "channels": 65536, "layers": 2, "hidden": 1, "mixing": "linear"})",
        R"({"system": "glow", "hidden": 65536, "context": 65536, "steps": 1})"}) {
    EXPECT_NE(refused({{"melflow_flow_version", "1"}, {"flow_config", large}}).find("weights"), std::string::npos);
  }
}

TEST_F(FlowEngine, UnknownKeysAndNamesAreErrorsWithTheNearest) {
  const auto message = [](const nlohmann::json& c) { return testing::refusal_of([&] { build_flow(c, "c"); }).message; };
  EXPECT_NE(message({{"system", "maff"}}).find("'maf'"), std::string::npos);
  EXPECT_NE(message({{"system", "maf"}, {"layer", 3}}).find("'layers'"), std::string::npos);
  EXPECT_NE(message({{"system", "maf"}, {"scale", "tan"}}).find("\"tanh\""), std::string::npos);
  EXPECT_NE(message({{"system", "glow"}, {"channels", 1}}).find("two dimensions"), std::string::npos);
  FlowDataOptions misspelt;
  misspelt.path = "two_moon";
  testing::expect_refused([&] { load_flow_data(misspelt); }, Exit::no_input, "'two_moons'");
}

TEST_F(FlowEngine, AnOptionThatIsZeroIsRefusedAsAConfigurationOrMakesAFlow) {
  for (const auto& system : flow_systems()) {
    const auto whole = resolved_flow_config({{"system", system}, {"channels", 4}}, "c");
    int tried = 0;
    for (const auto& [key, value] : whole.items()) {
      if (!value.is_number_integer()) continue;
      auto config = whole;
      config[key] = 0;
      ++tried;
      const auto refusal = testing::refusal_of([&] {
        const auto flow = build_flow(config, "c");
        EXPECT_TRUE(flow->log_prob(torch::randn({3, 4})).isfinite().all().item<bool>()) << system << "." << key;
      });
      EXPECT_TRUE(refusal.code == Exit::ok || refusal.code == Exit::config) << system << "." << key << refusal.message;
    }
    EXPECT_GT(tried, 4) << system;
  }
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

TEST_F(FlowEngine, StandardErrorsAreThoseOfTheMean) {
  FlowModel model{.name = "m", .config = resolved_flow_config({{"system", "maf"}, {"channels", 2}}, "test")};
  torch::manual_seed(1);
  model.flow = build_flow(model.config, "test");
  model.flow->eval();
  FlowDataOptions options;
  options.path = "two_moons";
  const auto score = score_flow(model, load_flow_data(options), 3000, 1);
  const auto nats = vector_tensor(score.log_prob).to(torch::kFloat64);
  EXPECT_NEAR(score.nats.mean, nats.mean().item<double>(), 1e-6);
  EXPECT_NEAR(score.nats.standard_error, nats.std().item<double>() / std::sqrt(3000.0), 1e-6);
}

TEST_F(FlowEngine, ClassesTakeTurnsWhereverSamplesBegin) {
  FlowModel model{.name = "m",
                  .config = resolved_flow_config({{"system", "maf"}, {"channels", 2}, {"context", 3}}, "test")};
  model.flow = build_flow(model.config, "test");
  EXPECT_TRUE(torch::equal(sample_labels(model, 4, 5, {}), torch::tensor({1, 2, 0, 1, 2}, torch::kInt64)));
  EXPECT_TRUE(torch::equal(sample_labels(model, 4, 2, {.label = 2}), torch::tensor({2, 2}, torch::kInt64)));
}

TEST_F(FlowEngine, ColumnsAreCountedAsTheyLieInTheFile) {
  std::ofstream(file("labelled.csv")) << "0,5,0,1\n1,5,3,0\n0,5,1,1\n";
  for (const auto& [labels, column] : {std::pair{"first", "column 2"}, {"last", "column 2"}}) {
    FlowDataOptions options;
    options.path = file("labelled.csv").string();
    options.label_column = labels;
    const auto lines = doubtful_columns(load_flow_data(options));
    ASSERT_EQ(lines.size(), 1u) << labels;
    EXPECT_NE(lines[0].find(std::string(column) + ";"), std::string::npos) << lines[0];
  }
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
