#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "models/flow/bijection.h"

namespace melflow::testing {

/// Moves every parameter away from its starting value, so that zero-initialised layers take part in a test.
inline void shake(torch::nn::Module& module, double scale = 0.1) {
  torch::NoGradGuard no_grad;
  for (auto& p : module.parameters()) p.add_(torch::randn_like(p) * scale);
}

/// What every bijection promises, checked in double: inverse ∘ forward = identity both ways, opposite
/// log-determinants, log-determinant = ln|det| of the autograd Jacobian, finite gradients everywhere.
inline void expect_bijection(models::Bijection& flow, const torch::Tensor& x, const torch::Tensor& context = {},
                             double tolerance = 1e-8) {
  flow.to(torch::kFloat64);
  const auto xd = x.to(torch::kFloat64);
  const auto cd = context.defined() ? context.to(torch::kFloat64) : context;

  const auto z = flow.forward(xd, cd);
  ASSERT_EQ(z.value.numel(), xd.numel());
  ASSERT_EQ(z.log_det.sizes(), torch::IntArrayRef({xd.size(0)}));
  const auto back = flow.inverse(z.value, cd);
  EXPECT_LT((back.value - xd).abs().max().item<double>(), tolerance);
  EXPECT_LT((back.log_det + z.log_det).abs().max().item<double>(), tolerance * static_cast<double>(xd.numel()));
  const auto again = flow.forward(flow.inverse(xd.view_as(z.value), cd).value, cd);
  EXPECT_LT((again.value - xd.view_as(z.value)).abs().max().item<double>(), tolerance);

  for (int64_t b = 0; b < xd.size(0); ++b) {  // the Jacobian of one item at a time
    auto item = xd.narrow(0, b, 1).detach().clone().set_requires_grad(true);
    const auto item_context = cd.defined() ? cd.narrow(0, b, 1) : cd;
    const auto out = flow.forward(item, item_context);
    const auto flat = out.value.flatten();
    std::vector<torch::Tensor> rows;
    for (int64_t i = 0; i < flat.size(0); ++i) {
      rows.push_back(torch::autograd::grad({flat[i]}, {item}, {}, /*retain_graph=*/true)[0].flatten());
    }
    const auto log_det = std::get<1>(torch::linalg_slogdet(torch::stack(rows))).item<double>();
    EXPECT_NEAR(out.log_det.item<double>(), log_det, 1e-6 * (1 + std::abs(log_det)));
  }

  if (flow.parameters().empty()) return;
  flow.zero_grad();
  const auto out = flow.forward(xd, cd);
  (out.value.square().sum() / 2 - out.log_det.sum()).backward();
  for (const auto& p : flow.named_parameters()) {
    ASSERT_TRUE(p.value().grad().defined()) << p.key() << " takes no part in the likelihood";
    EXPECT_TRUE(p.value().grad().isfinite().all().item<bool>()) << p.key();
  }
}

}  // namespace melflow::testing
