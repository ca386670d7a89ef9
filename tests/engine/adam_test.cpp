// Adam in one kernel does what LibTorch's optimisers do tensor by tensor.

#include "engine/train/adam.h"

#include <gtest/gtest.h>

#include <torch/torch.h>

namespace melflow::engine {
namespace {

struct Problem {
  Problem() {
    torch::manual_seed(3);
    for (const auto& shape : std::vector<std::vector<int64_t>>{{5, 7}, {3}, {2, 3, 4}}) {
      weights.push_back(torch::randn(shape).requires_grad_());
      goals.push_back(torch::randn(shape));
    }
    weights.push_back(torch::randn({6, 4}).t().detach().requires_grad_());  // lies in another order
    goals.push_back(torch::randn({4, 6}));
    weights.push_back(torch::randn({2}).requires_grad_());  // never gets a gradient
  }
  void backward() const {
    auto loss = torch::zeros({});
    for (size_t i = 0; i < goals.size(); ++i) loss = loss + (weights[i] - goals[i]).pow(4).sum();
    loss.backward();
  }
  std::vector<torch::Tensor> weights, goals;
};

void expect_same(const Problem& actual, const Problem& expected, double tolerance) {
  for (size_t i = 0; i < actual.weights.size(); ++i) {
    EXPECT_LT((actual.weights[i] - expected.weights[i]).abs().max().item<double>(), tolerance) << i;
  }
}

TEST(Adam, StepsAsLibTorchsDoes) {
  for (const double decay : {0.0, 0.3}) {
    Problem ours, theirs;
    Adam adam(ours.weights, {.beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-3, .weight_decay = decay});
    torch::optim::AdamW oracle(theirs.weights,
                               torch::optim::AdamWOptions(0.01).betas({0.8, 0.95}).eps(1e-3).weight_decay(decay));
    for (int step = 0; step < 20; ++step) {
      adam.zero_grad();
      oracle.zero_grad();
      ours.backward();
      theirs.backward();
      const double norm = adam.clip(3);
      EXPECT_NEAR(norm / torch::nn::utils::clip_grad_norm_(theirs.weights, 3), 1, 1e-6);
      EXPECT_GT(norm, 3);
      const auto version = ours.weights[0]._version();
      adam.step(0.01);
      EXPECT_GT(ours.weights[0]._version(), version);
      oracle.step();
    }
    EXPECT_EQ(adam.steps, 20);
    expect_same(ours, theirs, 1e-5);
  }
}

TEST(Adam, LeavesGradientsWithinTheLimitAsTheyAre) {
  Problem problem;
  Adam adam(problem.weights, {});
  problem.backward();
  const auto before = problem.weights[0].grad().clone();
  const double norm = adam.clip(1e9);
  EXPECT_TRUE(problem.weights[0].grad().equal(before));
  EXPECT_EQ(adam.clip(0), norm);
  adam.zero_grad();
  EXPECT_FALSE(problem.weights[0].grad().defined());
  EXPECT_EQ(adam.clip(1), 0);
}

}  // namespace
}  // namespace melflow::engine
