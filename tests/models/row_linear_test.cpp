// Linear layers by our own products against LibTorch's in double precision.
#include "models/nets/row_linear.h"

#include <array>

#include <gtest/gtest.h>

#include "models/autocast.h"
#include "tests/models/as_read.h"

namespace melflow::models {
namespace {

using torch::Tensor;
using torch::autograd::variable_list;

// [rows, in, out]: of one, of shares that are whole and not, and more rows than are packed together.
constexpr int64_t kLayers[][3] = {{1, 1, 1}, {33, 17, 20}, {192, 64, 48}, {200, 70, 129}, {4500, 24, 16}};

variable_list random_layer(int64_t rows, int64_t in, int64_t out) {
  torch::manual_seed(rows + in);
  variable_list of{torch::randn({rows, in}), torch::randn({out, in}), torch::randn({out})};
  for (auto& t : of) t.requires_grad_();
  return of;
}

TEST(RowLinear, IsALinearLayerWithItsGradients) {
  for (const auto& [rows, in, out] : kLayers) {
    const auto of = random_layer(rows, in, out);
    variable_list exact;
    for (const auto& t : of) exact.push_back(t.detach().to(torch::kFloat64).requires_grad_());
    const auto y = row_linear(of[0], of[1], of[2]), expected = torch::linear(exact[0], exact[1], exact[2]);
    EXPECT_LT(relative_error(y, expected), 1e-6) << rows;
    const auto gradient = torch::randn_like(y);
    const auto actual = torch::autograd::grad({y}, of, {gradient});
    const auto of_exact = torch::autograd::grad({expected}, exact, {gradient.to(torch::kFloat64)});
    for (size_t i = 0; i < of.size(); ++i) EXPECT_LT(relative_error(actual[i], of_exact[i]), 1e-6) << rows << ", " << i;
  }
}

TEST(RowLinear, TakesAnyShapeAndNoBias) {
  const auto of = random_layer(6, 10, 7);
  const auto x = of[0].view({2, 3, 10}), columns = of[0].t().contiguous().t();
  EXPECT_LT(relative_error(row_linear(x, of[1], of[2]), torch::linear(x, of[1], of[2])), 1e-6);
  const auto y = row_linear(columns, of[1]);
  EXPECT_TRUE(torch::equal(y, row_linear(of[0], of[1])));
  EXPECT_LT(relative_error(torch::autograd::grad({y.sum()}, {of[1]})[0], of[0].sum(0).expand({7, 10})), 1e-6);
  EXPECT_LT(relative_error(row_linear(of[0][1], of[1]), torch::linear(of[0][1], of[1])), 1e-6);
  const auto none = row_linear(torch::zeros({0, 4, 10}), of[1], of[2]);
  EXPECT_EQ(none.sizes(), torch::IntArrayRef({0, 4, 7}));
  for (const auto& gradient : torch::autograd::grad({none.sum()}, {of[1], of[2]}))
    EXPECT_EQ(gradient.count_nonzero().item<int>(), 0);
  const auto nothing = torch::zeros({0, 10}).requires_grad_();
  EXPECT_EQ(torch::autograd::grad({row_linear(of[0], nothing).sum()}, {nothing})[0].numel(), 0);
  EXPECT_THROW(row_linear(of[0], of[1].t()), c10::Error);
  EXPECT_THROW(row_linear(of[0], of[1], torch::zeros({8})), c10::Error);
}

TEST(RowLinear, ARowHasTheSameDigitsAmongAnyOthersAndOnAnyThreads) {
  const auto of = random_layer(1000, 40, 200);
  const auto gradient = torch::randn({1000, 200});
  const auto threads = at::get_num_threads();
  std::vector<variable_list> results;
  for (const int n : {1, 2}) {
    at::set_num_threads(n);
    const auto y = row_linear(of[0], of[1], of[2]);
    results.push_back(torch::autograd::grad({y}, of, {gradient}));
    results.back().push_back(y);
  }
  at::set_num_threads(threads);
  for (size_t i = 0; i < results[0].size(); ++i) EXPECT_TRUE(torch::equal(results[0][i], results[1][i])) << i;
  EXPECT_TRUE(torch::equal(row_linear(of[0].narrow(0, 123, 7), of[1], of[2]), results[0][3].narrow(0, 123, 7)));
}

TEST(RowLinear, HasGradientsOfGradients) {
  const auto of = random_layer(5, 4, 3);
  const auto penalty = [&](const Tensor& y) {
    return torch::autograd::grad({torch::autograd::grad({y.square().sum()}, {of[0]}, {}, true, true)[0].square().sum()},
                                 {of[1]})[0];
  };
  EXPECT_LT(relative_error(penalty(row_linear(of[0], of[1], of[2])), penalty(torch::linear(of[0], of[1], of[2]))),
            1e-6);
}

/// Whichever takes a shape, at what separates them.
TEST(RowLinear, ALayerIsTheSameByEither) {
  for (const auto& [rows, in, out] : std::vector<std::array<int64_t, 3>>{
           {63, 128, 64}, {64, 128, 64}, {64, 19, 300}, {64, 20, 300}, {90, 47, 47}, {90, 47, 48}, {64, 900, 700}}) {
    const auto of = random_layer(rows, in, out);
    const auto exact = torch::linear(of[0].to(torch::kFloat64), of[1].to(torch::kFloat64), of[2].to(torch::kFloat64));
    EXPECT_LT(relative_error(apply_linear(of[0], of[1], of[2]), exact), 1e-6) << rows << " " << in << " " << out;
  }
}

TEST(RowLinear, OtherTypesAreLibTorchs) {
  const auto of = random_layer(64, 64, 64);
  const auto wide = of[0].to(torch::kFloat64), weight = of[1].to(torch::kFloat64);
  EXPECT_TRUE(torch::equal(apply_linear(wide, weight), torch::linear(wide, weight)));
  const Autocast narrow(at::kCPU, {.on = true});
  EXPECT_EQ(apply_linear(of[0], of[1], of[2]).scalar_type(), torch::kBFloat16);
}

}  // namespace
}  // namespace melflow::models
