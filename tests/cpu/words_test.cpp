#include "cpu/words.h"

#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace melflow::cpu {
namespace {

std::vector<float> numbers(int count) {
  std::mt19937 random(5);
  std::vector<float> out(static_cast<size_t>(count));
  for (auto& x : out) x = std::normal_distribution<float>()(random);
  constexpr float kOdd[] = {1.00390625f,  // between two bfloat16, as near to each
                            1.01171875f,
                            -0.0f,
                            std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::denorm_min(),
                            std::numeric_limits<float>::max()};
  for (size_t i = 0; i < std::size(kOdd) && i < out.size(); ++i) out[out.size() - 1 - i] = kOdd[i];
  return out;
}

TEST(Words, HoldTheBitsOfAPackedRow) {
  const auto& product = plain_tile_kernels().product(Precision::bf16);
  for (const int count : {1, 16, 61}) {
    const auto all = numbers(2 * count);
    const float *first = all.data(), *second = first + count;
    for (const bool both : {true, false}) {
      std::vector<uint32_t> words(static_cast<size_t>(count) + 1, 7);
      pack_words(Precision::bf16, first, both ? second : nullptr, count, reinterpret_cast<std::byte*>(words.data()));
      for (int c = 0; c < count; ++c) {
        const float pair[] = {first[c], both ? second[c] : 0};
        uint32_t expected;
        product.pack_row(pair, 2, reinterpret_cast<std::byte*>(&expected));
        EXPECT_EQ(words[static_cast<size_t>(c)], expected) << pair[0] << " and " << pair[1];
      }
      EXPECT_EQ(words.back(), 7u);
    }
    std::vector<float> whole(static_cast<size_t>(count));
    pack_words(Precision::fp32, first, nullptr, count, reinterpret_cast<std::byte*>(whole.data()));
    EXPECT_EQ(std::memcmp(whole.data(), first, 4 * whole.size()), 0);
  }
}

TEST(Words, AreTransposed) {
  constexpr int kApart = 35, kOutApart = 19;
  std::vector<uint32_t> words(16 * kApart + 16);
  for (size_t i = 0; i < words.size(); ++i) words[i] = static_cast<uint32_t>(i);
  for (const int columns : {1, 16, 33}) {
    std::vector<uint32_t> out(static_cast<size_t>(columns + 1) * kOutApart, ~0u);
    transpose_words(reinterpret_cast<const std::byte*>(words.data()), kApart, columns,
                    reinterpret_cast<std::byte*>(out.data()), kOutApart);
    for (int c = 0; c <= columns; ++c) {
      for (int w = 0; w < kOutApart; ++w) {
        const auto expected = c < columns && w < 16 ? words[static_cast<size_t>(w * kApart + c)] : ~0u;
        ASSERT_EQ(out[static_cast<size_t>(c * kOutApart + w)], expected) << columns << " columns, " << c << ", " << w;
      }
    }
  }
}

}  // namespace
}  // namespace melflow::cpu
