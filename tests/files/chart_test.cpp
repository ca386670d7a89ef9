#include "engine/files/chart.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "engine/files/canvas.h"
#include "tests/support/refusal.h"

namespace melflow::files {
namespace {

const Curve kFalling{"falling", {0, 1, 1, 0}}, kRising{"rising", {0, 0, 1, 1}}, kLevel{"", {0, 0.5f, 1, 0.5f}};
const Axes kAxes{"step", "loss, nats"};

/// How many pixels are of a colour: not grey.
int coloured(const Image& image) {
  int count = 0;
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    count += image.pixels[i] != image.pixels[i + 1] || image.pixels[i + 1] != image.pixels[i + 2];
  }
  return count;
}

std::vector<uint8_t> written(std::string_view text) {
  Canvas canvas(40, 12);
  canvas.text(1, 1, text);
  return canvas.take().pixels;
}

TEST(Chart, NumbersOfAxesAreShortAndNeverMinusNothing) {
  EXPECT_EQ(axis_number(-0.004), "0.00");
  EXPECT_EQ(axis_number(-0.0), "0.00");
  EXPECT_EQ(axis_number(-0.006), "-0.01");
  EXPECT_EQ(axis_number(9.99), "9.99");
  EXPECT_EQ(axis_number(-12.7), "-13");
  EXPECT_EQ(axis_number(0.0034, 0.002), "3.40e-03");
  EXPECT_EQ(axis_number(1e-20, 0.002), "0.00e00");
  EXPECT_EQ(axis_number(-1e25, 2e25), "-1.00e25");
}

TEST(Chart, ImagesAreInTheColoursThatTheyHave) {
  const std::vector<float> red_blue{1, 0, 0, 0, 0, 1};  // [1, 3, 1, 2]: a red pixel beside a blue one
  const auto picture = image_grid(red_blue, {3, 1, 2}, 1);
  size_t red = 0, blue = 0, other = 0;
  for (size_t p = 0; p + 2 < picture.pixels.size(); p += 3) {
    const std::array<int, 3> pixel{picture.pixels[p], picture.pixels[p + 1], picture.pixels[p + 2]};
    const bool grey = pixel[0] == pixel[1] && pixel[1] == pixel[2];
    red += pixel == std::array{255, 0, 0};
    blue += pixel == std::array{0, 0, 255};
    other += !grey && pixel != std::array{255, 0, 0} && pixel != std::array{0, 0, 255};
  }
  EXPECT_GT(red, 0u);
  EXPECT_EQ(red, blue);
  EXPECT_EQ(other, 0u);
}

TEST(Chart, LettersAreDrawnInOneCase) {
  EXPECT_EQ(written("loss"), written("LOSS"));
  EXPECT_EQ(written(" ~"), written(""));
  std::vector<std::vector<uint8_t>> all;
  for (const char letter : std::string_view("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-.,/%()")) {
    for (const auto& other : all) EXPECT_NE(written({&letter, 1}), other) << letter;
    all.push_back(written({&letter, 1}));
  }
}

TEST(Chart, ALegendStandsWhereThereIsMoreThanOneName) {
  const Curve one[] = {kFalling, kLevel}, two[] = {kFalling, kRising, kLevel};
  const auto plain = line_chart(one, kAxes), named = line_chart(two, kAxes);
  EXPECT_GT(coloured(plain), 200);
  EXPECT_GT(coloured(named), 2 * coloured(plain));
  EXPECT_GT(named.height, plain.height);
  EXPECT_EQ(named.width, plain.width);
  const std::vector<Curve> many(12, {"a curve with a name", kFalling.points});
  EXPECT_GT(line_chart(many, kAxes).height, named.height + 2 * Canvas::kTextHeight);
}

TEST(Chart, WhatCannotBeDrawnIsLeftOutOrRefusedByItsName) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const Curve gap[] = {{"gap", {0, 1, 0.5f, kNan, 1, 0, 2, 0}}}, point[] = {{"point", {3, 1, kNan, 2}}};
  EXPECT_GT(coloured(line_chart(gap, kAxes)), 200);
  testing::expect_refused([&] { line_chart(point, kAxes); }, Exit::bad_data, "loss, nats over step");
}

}  // namespace
}  // namespace melflow::files
