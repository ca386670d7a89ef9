#include "engine/files/canvas.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace melflow::files {
namespace {

/// Five rows of three dots, an octal digit each.
uint16_t dots_of(char letter) {
  constexpr uint16_t kDigits[] = {075557, 026227, 071747, 071717, 055711, 074717, 074757, 071111, 075757, 075717};
  constexpr uint16_t kCapitals[] = {025755, 065656, 034443, 065556, 074647, 074644, 034553, 055755, 072227,
                                    011152, 055655, 044447, 057755, 065555, 025552, 065644, 025573, 065655,
                                    034216, 072222, 055557, 055552, 055775, 055255, 055222, 071247};
  constexpr std::pair<char, uint16_t> kOthers[] = {{'-', 000700}, {'.', 000002}, {',', 000024}, {'/', 011244},
                                                   {'%', 051245}, {'(', 024442}, {')', 021112}};
  if (letter >= '0' && letter <= '9') return kDigits[letter - '0'];
  if (letter >= 'A' && letter <= 'Z') return kCapitals[letter - 'A'];
  if (letter >= 'a' && letter <= 'z') return kCapitals[letter - 'a'];
  for (const auto& [other, dots] : kOthers) {
    if (letter == other) return dots;
  }
  return 0;
}

}  // namespace

std::string axis_number(double value, double span) {
  char text[32];
  if (std::abs(value) >= 1e5 || (span > 0 && span < 0.1)) {
    std::snprintf(text, sizeof text, "%.2e", std::abs(value) < span * 1e-3 ? 0 : value);
    std::string short_one = text;
    std::erase(short_one, '+');
    return short_one;
  }
  std::snprintf(text, sizeof text, std::abs(value) < 10 ? "%.2f" : "%.0f", std::abs(value) < 0.005 ? 0 : value);
  return text;
}

Colour magma(float loudness) {
  constexpr Colour kStops[] = {{0, 0, 4},      {28, 16, 68},   {79, 18, 123},   {129, 37, 129}, {181, 54, 122},
                               {229, 80, 100}, {251, 135, 97}, {254, 194, 135}, {252, 253, 191}};
  const float at = std::clamp(loudness, 0.0f, 1.0f) * 8.0f;
  const auto below = std::min(static_cast<size_t>(at), size_t{7});
  const float part = at - static_cast<float>(below);
  Colour colour;
  for (size_t c = 0; c < 3; ++c) {
    const float low = kStops[below][c], high = kStops[below + 1][c];
    colour[c] = static_cast<uint8_t>(std::lround(low + part * (high - low)));
  }
  return colour;
}

Canvas::Canvas(int width, int height) {
  image_ = {width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3, 255)};
}

void Canvas::put(int x, int y, const Colour& colour) { blend(x, y, colour, 1.0); }

void Canvas::blend(int x, int y, const Colour& colour, double part) {
  if (x < 0 || y < 0 || x >= image_.width || y >= image_.height) return;
  const size_t at = (static_cast<size_t>(y) * static_cast<size_t>(image_.width) + static_cast<size_t>(x)) * 3;
  for (size_t c = 0; c < 3; ++c) {
    const double mixed = image_.pixels[at + c] + part * (colour[c] - static_cast<double>(image_.pixels[at + c]));
    image_.pixels[at + c] = static_cast<uint8_t>(std::lround(mixed));
  }
}

void Canvas::line(double x0, double y0, double x1, double y1, const Colour& colour) {
  const double length = std::max(std::abs(x1 - x0), std::abs(y1 - y0));
  if (!std::isfinite(length) || length > 1e5) return;
  const bool flat = std::abs(x1 - x0) >= std::abs(y1 - y0);
  const int steps = std::max(1, static_cast<int>(std::ceil(length)));
  for (int i = 0; i <= steps; ++i) {
    const double x = x0 + (x1 - x0) * i / steps, y = y0 + (y1 - y0) * i / steps;
    const double across = flat ? y : x, below = std::floor(across), part = across - below;
    const int along = static_cast<int>(std::lround(flat ? x : y)), first = static_cast<int>(below);
    for (const auto& [at, share] : {std::pair(first, 1 - part), std::pair(first + 1, part)}) {
      blend(flat ? along : at, flat ? at : along, colour, share);
    }
  }
}

void Canvas::text(int x, int y, std::string_view text) {
  constexpr int kDot = kTextHeight / 5;
  for (const char letter : text) {
    const uint16_t dots = dots_of(letter);
    for (int i = 0; i < 15; ++i) {
      if (!((dots >> (14 - i)) & 1)) continue;
      for (int p = 0; p < kDot * kDot; ++p) put(x + i % 3 * kDot + p % kDot, y + i / 3 * kDot + p / kDot, kInk);
    }
    x += kTextAdvance;
  }
}

void Canvas::number(int x, int y, int value) { text(x, y, std::to_string(value)); }

}  // namespace melflow::files
