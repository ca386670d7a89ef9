// Images through `flow train`: levels, classes, what lies between two of them.

#include "base/error.h"
#include "engine/flow/flow_pictures.h"
#include "tests/engine/flow_fixture.h"

namespace melflow::engine {
namespace {

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

/// Rows of numbers from 0 to 1 may go through a logit, and images that are no pixels through nothing: neither gets
/// noise, nor is it rounded.
TEST_F(DigitLikeImages, NumbersThatAreNoPixelsStayAsTheyAre) {
  auto random = generator(4);
  const auto numbers = torch::rand({256, 16}, random, torch::TensorOptions()) * 0.9 + 0.05;
  const int64_t shape[] = {256, 16};
  files::write_npy(file("numbers.npy"), shape, tensor_vector(numbers), AtomicFile::Existing::refuse);
  const std::vector<std::string> common{"steps=3", "batch_size=32", "model.hidden=16", "patience=0", "hold_out=0.25"};
  for (const std::vector<std::string>& kind :
       {std::vector<std::string>{"model.system=maf", "model.preprocess=logit", "model.pixel_levels=1"},
        {"model.system=glow", "model.preprocess=none", "data.height=4", "data.width=4", "model.levels=1"}}) {
    auto settings = common;
    settings.insert(settings.end(), kind.begin(), kind.end());
    const auto c = config(file("numbers.npy").string(), settings);
    const auto run = kind.front().substr(13);
    auto t = trainer(c, run);
    train(t, 3);
    const auto model = load_flow(file(run) / "flow.safetensors");
    const auto score = score_flow(model, load_flow_data(c.data), 0, 0);
    EXPECT_FALSE(score.bits_per_dimension) << run;
    const auto x = sample_flow(model, 0, 50, {.seed = 1});
    EXPECT_GT((x != x.floor()).sum().item<int64_t>(), 700) << run << ": 800 numbers, none whole";
  }
  EXPECT_THROW(config(file("numbers.npy").string(),
                      {"model.system=glow", "model.preprocess=standardise", "data.height=4", "data.width=4"}),
               Error);
}

TEST_F(DigitLikeImages, WhatLiesBetweenBeginsAndEndsWithTheImagesThemselves) {
  const auto c = image_config("glow", 5);
  auto t = trainer(c, "r");
  train(t, 5);
  const auto data = load_flow_data(c.data);
  const auto ends = data.x.narrow(0, 0, 2);
  const auto way =
      interpolate(load_flow(file("r") / "flow.safetensors"), {.x = ends, .labels = data.labels.narrow(0, 0, 2)}, 5);
  ASSERT_EQ(way.size(0), 5);
  EXPECT_TRUE(torch::equal(way[0], ends[0]));
  EXPECT_TRUE(torch::equal(way[4], ends[1]));
}

TEST_F(DigitLikeImages, PixelsOutsideTheLevelsAreRefused) {
  auto c = image_config("glow", 1);
  c.model["pixel_levels"] = 4;
  EXPECT_THROW(trainer(c, "r"), Error);
}

}  // namespace
}  // namespace melflow::engine
