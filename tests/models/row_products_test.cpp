#include "models/nets/row_products.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "models/nets/wavenet.h"

namespace melflow::models {
namespace {

using torch::Tensor;

double relative_error(const Tensor& actual, const Tensor& expected) {
  return ((actual.to(torch::kFloat64) - expected).norm() / expected.norm()).item<double>();
}

// Sizes below, at and beyond a tile's rows, a vector, a panel and the depth of one pass.
constexpr int64_t kSizes[][3] = {{1, 1, 1}, {5, 3, 8}, {14, 257, 16}, {29, 40, 33}, {61, 640, 136}, {15, 8, 31}};

TEST(RowProducts, AddWhatTheFormulaSays) {
  torch::manual_seed(1);
  for (const auto& [rows, k, n] : kSizes) {
    const auto a = torch::randn({rows, k + 2}), b = torch::randn({n, k}), start = torch::randn({rows, n + 1});
    auto c = start.clone();
    const Panels panels(b.const_data_ptr<float>(), k, n, /*k_apart=*/1, /*n_apart=*/k);
    add_product(a.const_data_ptr<float>(), k + 2, rows, panels, c.data_ptr<float>(), n + 1);
    auto expected = start.to(torch::kFloat64);
    expected.narrow(1, 0, n) += a.narrow(1, 0, k).to(torch::kFloat64).matmul(b.to(torch::kFloat64).t());
    EXPECT_LT(relative_error(c, expected), 1e-6) << rows << " x " << k << " x " << n;
    EXPECT_TRUE(torch::equal(c.select(1, n), start.select(1, n)));  // what lies behind a row is not touched
  }
}

TEST(RowProducts, AddTransposedProductsAsTheFormulaSays) {
  torch::manual_seed(2);
  for (const auto& [m, rows, n] : kSizes) {
    const auto a = torch::randn({rows, m}), b = torch::randn({rows, n}), start = torch::randn({m, n});
    auto c = start.clone();
    const auto half = n > panel_columns() ? panel_columns() : 0;  // in two shares where there is more than a panel
    for (const auto& [first, columns] : {std::pair{int64_t{0}, half}, std::pair{half, n - half}}) {
      add_transposed_product(a.const_data_ptr<float>(), m, m, b.const_data_ptr<float>() + first, n, columns, rows,
                             c.data_ptr<float>() + first, n);
    }
    const auto expected = start.to(torch::kFloat64) + a.to(torch::kFloat64).t().matmul(b.to(torch::kFloat64));
    EXPECT_LT(relative_error(c, expected), 1e-6) << m << " x " << rows << " x " << n;
  }
}

TEST(RowProducts, GiveAWaveNetTheSameGradientsWithAnyNumberOfThreads) {
  torch::manual_seed(3);
  WaveNet net({.in_channels = 3, .out_channels = 6, .context_channels = 20, .n_layers = 3, .n_channels = 72});
  {
    const torch::NoGradGuard no_grad;
    for (auto& p : net.parameters()) p.normal_(0, 0.1);
  }
  const auto x = torch::randn({2, 3, 1000}), context = torch::randn({2, 20, 1000});
  const auto gradients = [&](int threads) {
    torch::set_num_threads(threads);
    return torch::autograd::grad({net.forward(x, context).square().sum()}, net.parameters());
  };
  const int usual = torch::get_num_threads();
  const auto one = gradients(1);
  for (const int threads : {2, 3}) {
    const auto several = gradients(threads);
    // Not bit for bit: the start and the end are LibTorch's own products, which sum up as they are shared out.
    for (size_t i = 0; i < one.size(); ++i) EXPECT_LT(relative_error(several[i], one[i].to(torch::kFloat64)), 2e-6);
    EXPECT_TRUE(std::ranges::equal(several, gradients(threads), torch::equal));
  }
  torch::set_num_threads(usual);
}

}  // namespace
}  // namespace melflow::models
