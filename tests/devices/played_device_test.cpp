// What the played device is there for: what CUDA would refuse, and what would be read past LibTorch.

#include "tests/devices/played_device.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace melflow::testing {
namespace {

TEST(PlayedDevice, ComputesAsTheCpuDoes) {
  played_device();
  torch::manual_seed(1);
  const auto x = torch::randn({3, 4}), y = torch::randn({4});
  const auto there = x.to(played_device());
  EXPECT_TRUE(torch::equal((there.t().narrow(0, 1, 2) * 3).cpu(), x.t().narrow(0, 1, 2) * 3));
  auto part = there.select(0, 1);
  part.copy_(y);
  EXPECT_TRUE(torch::equal(there.cpu().select(0, 1), y));
  EXPECT_EQ((there + 1).device(), played_device());
}

TEST(PlayedDevice, RefusesTensorsThatLieElsewhere) {
  const auto there = torch::randn({3, 4}).to(played_device());
  EXPECT_THROW(there + torch::ones({4}), c10::Error);
  EXPECT_THROW(torch::cat({there, torch::ones({1, 4})}), c10::Error);
  EXPECT_THROW(torch::matmul(there, torch::ones({4, 2})), c10::Error);
  EXPECT_THROW(torch::conv1d(there.unsqueeze(0), torch::ones({2, 3, 1})), c10::Error);
  EXPECT_NO_THROW(there * torch::tensor(2.0));  // a number may come from anywhere
}

TEST(PlayedDevice, HidesItsMemory) {
  const auto there = torch::ones({4}).to(played_device());
  EXPECT_NE(*static_cast<const float*>(there.storage().data()), 1.0f);
}

}  // namespace
}  // namespace melflow::testing
