#include "models/nets/row_products.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "models/autocast.h"
#include "models/nets/wavenet.h"
#include "models/nets/wavenet_rows.h"
#include "tests/models/as_read.h"

namespace melflow::models {
namespace {

using cpu::Precision;
using torch::Tensor;

class RowProducts : public ::testing::TestWithParam<Precision> {};

// Sizes below, at and beyond a vector, a panel, a word and the depth of one run.
constexpr int64_t kSizes[][3] = {{1, 1, 1}, {5, 3, 8}, {14, 257, 16}, {29, 40, 33}, {61, 640, 136}, {15, 8, 31}};

TEST_P(RowProducts, AreWhatTheFormulaSays) {
  torch::manual_seed(1);
  for (const auto& [rows, k, n] : kSizes) {
    const auto a = torch::randn({rows, k}), b = torch::randn({n, k}), bias = torch::randn({n});
    const MatrixPart part{b.const_data_ptr<float>(), k, 1, k};
    const auto matrix = pack_matrix(GetParam(), {&part, 1}, n, bias.const_data_ptr<float>());
    PackedRows packed(GetParam(), rows + 3, k);
    packed.take(a.const_data_ptr<float>(), rows, -2, rows + 1);
    const auto width = cpu::tile_kernels().width;
    cpu::AlignedFloats sums(static_cast<size_t>((rows + 3) * width));
    const auto expected =
        torch::constant_pad_nd(as_read(GetParam(), a).matmul(as_read(GetParam(), b).t()), {0, 0, 2, 1}) + bias;
    for (int p = 0; p < matrix.panels(); ++p) {
      matrix.start(p, static_cast<int>(rows + 3), sums.data());
      matrix.add(p, packed.from(), static_cast<int>(rows + 3), sums.data());
      const auto columns = std::min<int64_t>(width, n - p * width);
      const auto actual = torch::from_blob(sums.data(), {rows + 3, width}).narrow(1, 0, columns);
      EXPECT_LT(relative_error(actual, expected.narrow(1, p * width, columns)), 1e-6)
          << rows << " x " << k << " x " << n << ", panel " << p;
    }
  }
}

TEST_P(RowProducts, OfGatesHaveEachColumnBesideItsPartner) {
  const auto half = cpu::tile_kernels().width / 2;
  for (const int64_t channels : {int64_t{1}, int64_t{half}, int64_t{2 * half + 3}}) {
    const auto b = torch::arange(1, 2 * channels + 1).to(torch::kFloat32);  // of one row; 8 bits hold it
    const MatrixPart part{b.const_data_ptr<float>(), 1, 0, 1};
    const auto matrix = pack_matrix(GetParam(), {&part, 1}, 2 * channels, nullptr, ColumnOrder::gates);
    PackedRows one(GetParam(), 1, 1);
    const float x = 1;
    one.take(&x, 1, 0, 1);
    cpu::AlignedFloats sums(static_cast<size_t>(2 * half));
    for (int p = 0; p < matrix.panels(); ++p) {
      matrix.start(p, 1, sums.data());
      matrix.add(p, one.from(), 1, sums.data());
      for (int c = 0; c < half; ++c) {
        const auto channel = p * half + c;
        EXPECT_EQ(sums.data()[c], channel < channels ? static_cast<float>(channel + 1) : 0);
        EXPECT_EQ(sums.data()[half + c], channel < channels ? static_cast<float>(channels + channel + 1) : 0);
      }
    }
  }
}

/// Of rows behind and before, of an odd number of them, in items that are and are not packed together.
TEST_P(RowProducts, CorrelateAsTheFormulaSays) {
  torch::manual_seed(2);
  struct Sizes {
    int64_t items, rows, m, n, offsets, first, apart;
  };
  for (const auto& s :
       {Sizes{1, 1, 1, 1, 1, 0, 0}, Sizes{3, 37, 5, 8, 3, -1, 1}, Sizes{2, 1000, 144, 72, 3, -4, 4},
        Sizes{7, 801, 33, 130, 5, -6, 3}, Sizes{1, 5000, 8, 64, 1, 0, 0}, Sizes{2, 9, 40, 3, 3, -16, 16}}) {
    const auto a = torch::randn({s.items, s.rows, s.m}), b = torch::randn({s.items, s.rows, s.n});
    const auto other = torch::randn({s.items, s.rows, 3}), start = torch::randn({s.offsets, s.m, s.n});
    const auto c = start.clone(), of_other = torch::zeros({1, s.m, 3});
    const Correlated with[] = {{b.const_data_ptr<float>(), s.n, c.data_ptr<float>(), s.offsets, s.first, s.apart},
                               {other.const_data_ptr<float>(), 3, of_other.data_ptr<float>()}};
    correlate(GetParam(), a.const_data_ptr<float>(), s.m, s.items, s.rows, with);
    correlate(GetParam(), a.const_data_ptr<float>(), s.m, 0, s.rows, with);  // of no items: nothing
    auto again = with[0];
    const auto packed_before = start.clone();
    again.words = words_of(GetParam(), again, s.items, s.rows);
    again.of_weight = packed_before.data_ptr<float>();
    correlate(GetParam(), a.const_data_ptr<float>(), s.m, s.items, s.rows, {&again, 1});
    EXPECT_TRUE(packed_before.equal(c));
    auto expected = start.to(torch::kFloat64);
    const auto far = std::abs(s.first);
    const auto left = as_read(GetParam(), a);
    const auto padded = torch::constant_pad_nd(as_read(GetParam(), b), {0, 0, far, far});
    for (int64_t o = 0; o < s.offsets; ++o) {
      const auto right = padded.narrow(1, far + s.first + o * s.apart, s.rows);
      expected[o] += left.transpose(1, 2).matmul(right).sum(0);
    }
    EXPECT_LT(relative_error(c, expected), 1e-6) << s.items << " x " << s.rows << ", " << s.m << " x " << s.n;
    const auto of = left.transpose(1, 2).matmul(as_read(GetParam(), other)).sum(0);
    EXPECT_LT(relative_error(of_other[0], of), 1e-6) << s.items << " x " << s.rows << ", " << s.m << " x 3";
  }
}

INSTANTIATE_TEST_SUITE_P(All, RowProducts, ::testing::Values(Precision::fp32, Precision::bf16),
                         [](const auto& of) { return cpu::name_of(of.param); });

/// A WaveNet whose layers go by rows, and its gradients of what `value` says.
class WaveNetByRows : public ::testing::TestWithParam<int64_t> {
 protected:
  WaveNetByRows() {
    torch::manual_seed(3);
    net = std::make_unique<WaveNet>(
        WaveNet::Options{.in_channels = 3, .out_channels = 6, .context_channels = 20, .n_layers = 3, .n_channels = 72});
    const torch::NoGradGuard no_grad;
    for (auto& p : net->parameters()) p.normal_(0, 0.1);
    x = torch::randn({2, 3, 1000}).requires_grad_();
    context = torch::randn({2, 20, GetParam()}).requires_grad_();
  }
  std::vector<Tensor> gradients(bool narrow) const {
    auto of = net->parameters();
    of.insert(of.end(), {x, context});
    const auto out = [&] {
      const Autocast precision(at::kCPU, {.on = narrow});
      return net->forward(x, context);
    }();
    return torch::autograd::grad({out.square().sum()}, of);
  }
  std::unique_ptr<WaveNet> net;
  Tensor x, context;
};

TEST_P(WaveNetByRows, HasTheSameGradientsWithAnyNumberOfThreads) {
  const int usual = torch::get_num_threads();
  for (const bool narrow : {false, true}) {
    torch::set_num_threads(1);
    const auto one = gradients(narrow);
    for (const int threads : {2, 3}) {
      torch::set_num_threads(threads);
      const auto several = gradients(narrow);
      // Not bit for bit: the start and the end are LibTorch's own products, which sum up as they are shared out; and
      // where that changes a last bit, a rounding to bfloat16 may go the other way.
      for (size_t i = 0; i < one.size(); ++i)
        EXPECT_LT(relative_error(several[i], one[i].to(torch::kFloat64)), narrow ? 1e-4 : 2e-6);
      EXPECT_TRUE(std::ranges::equal(several, gradients(narrow), torch::equal));
    }
  }
  torch::set_num_threads(usual);
}

TEST_P(WaveNetByRows, InBfloat16IsNearItselfInFloat32AsAutocastIs) {
  const auto exact = gradients(false), narrow = gradients(true);
  auto of = net->parameters();
  of.insert(of.end(), {x, context});
  const auto out = [&] {
    const Autocast precision(at::kCPU, {.on = true});
    return net->plain_forward(x, context);
  }();
  const auto cast = torch::autograd::grad({out.to(torch::kFloat32).square().sum()}, of);
  for (size_t i = 0; i < exact.size(); ++i) {
    const auto expected = exact[i].to(torch::kFloat64);
    EXPECT_LT(relative_error(narrow[i], expected), 0.01) << i;
    EXPECT_LT(relative_error(narrow[i], expected), 2 * relative_error(cast[i], expected)) << i;
    EXPECT_FALSE(torch::equal(narrow[i], exact[i])) << i;  // it is narrower
  }
}

INSTANTIATE_TEST_SUITE_P(Contexts, WaveNetByRows, ::testing::Values(1000, 50),
                         [](const auto& of) { return "of_" + std::to_string(of.param); });

/// The sum of one layer, and its last weight.
std::pair<Tensor, Tensor> one_layer(Precision precision) {
  torch::manual_seed(5);
  const auto weight = torch::randn({8, 64}).requires_grad_();
  const auto sum = wavenet_rows(precision, torch::randn({1, 30, 64}), torch::randn({1, 30, 4}),
                                {torch::randn({128, 4, 1}), torch::randn({128})},
                                {{torch::randn({128, 64, 3}), torch::randn({128}), weight, torch::randn({8}), 1}});
  return {sum, weight};
}

TEST(WaveNetRows, RoundBackwardsAsForward) {
  for (const auto precision : {Precision::fp32, Precision::bf16}) {
    const auto [sum, weight] = one_layer(precision);
    const auto of_sum = torch::randn_like(sum), rounded = of_sum.to(torch::kBFloat16).to(torch::kFloat32);
    const auto gradient = [&, &sum = sum, &weight = weight](const Tensor& of) {
      return torch::autograd::grad({sum}, {weight}, {of}, /*retain_graph=*/true)[0];
    };
    EXPECT_EQ(torch::equal(gradient(of_sum), gradient(rounded)), precision == Precision::bf16);
  }
}

TEST(WaveNetRows, OfNoItemsHaveGradientsOfZero) {
  WaveNet net({.in_channels = 3, .out_channels = 6, .context_channels = 20, .n_layers = 2, .n_channels = 64});
  const auto out = net.forward(torch::randn({0, 3, 20}), torch::randn({0, 20, 5}));
  EXPECT_EQ(out.sizes(), torch::IntArrayRef({0, 6, 20}));
  for (const auto& of : torch::autograd::grad({out.sum()}, net.parameters()))
    EXPECT_EQ(of.count_nonzero().item<int>(), 0);
}

TEST(WaveNetRows, RefuseWhatTheyCannot) {
  EXPECT_THROW(one_layer(Precision::int8), c10::Error);
  const auto [sum, weight] = one_layer(Precision::fp32);
  EXPECT_THROW(torch::autograd::grad({sum.sum()}, {weight}, {}, /*retain_graph=*/true, /*create_graph=*/true),
               c10::Error);
}

}  // namespace
}  // namespace melflow::models
