#include "base/nearest.h"

#include <gtest/gtest.h>

namespace melflow {
namespace {

TEST(Nearest, FindsTheNameThatWasMeant) {
  const std::vector<std::string> names = {"n_fft", "n_mels", "hop_length", "win_length"};
  EXPECT_EQ(nearest("n_mel", names), "n_mels");
  EXPECT_EQ(nearest("hop_lenght", names), "hop_length");
  EXPECT_EQ(nearest("winlength", names), "win_length");
  EXPECT_EQ(nearest("n_fft", names), "n_fft");
}

TEST(Nearest, IsNothingWhereNothingIsNear) {
  const std::vector<std::string> names = {"kathleen", "universal"};
  EXPECT_EQ(nearest("mine", names), "");
  EXPECT_EQ(nearest("set", std::vector<std::string>{"mel", "out"}), "");
  EXPECT_EQ(nearest("kathlene", names), "kathleen");
  EXPECT_EQ(suggestion("mine", names), "; there are kathleen, universal");
  EXPECT_EQ(suggestion("univrsal", names), "; did you mean 'universal'?");
  EXPECT_EQ(suggestion("mine", std::vector<std::string>(17, "something")), "");
}

TEST(Nearest, PrefersTheNameThatWasBegun) {
  const std::vector<std::string> names = {"norm", "hop_length", "top"};
  EXPECT_EQ(nearest("hop", names), "hop_length");  // though "top" is one letter away, too, and comes later
  EXPECT_EQ(nearest("nor", names), "norm");
  EXPECT_EQ(nearest("top", names), "top");
}

TEST(Nearest, OfEqualsIsTheFirstAndOfNothingIsNothing) {
  const std::vector<std::string> names = {"abc", "abd"};
  EXPECT_EQ(nearest("abe", names), "abc");
  EXPECT_EQ(nearest("abe", {}), "");
}

}  // namespace
}  // namespace melflow
