#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/files/picture.h"

namespace melflow::files {

using Colour = std::array<uint8_t, 3>;
inline constexpr Colour kInk = {40, 40, 40};

/// Nine stops of matplotlib's magma (van der Walt and Smith), joined by straight lines: 0 dark, 1 bright.
Colour magma(float loudness);

/// A number as an axis shows it: two digits behind the point where it is below 10, none from there on; never "-0". On
/// an axis that spans little or goes far, with an exponent.
std::string axis_number(double value, double span = 1);

/// An image to draw on, white at first; what is outside is not drawn. Everything is in pixels: x to the right, y down,
/// (0, 0) the upper left one, which of a line are the pixels' middles and of text is its upper left corner.
class Canvas {
 public:
  Canvas(int width, int height);  ///< each 0 or more
  void put(int x, int y, const Colour& colour);
  /// Mixes the colour over what is there, 0 < part ≤ 1.
  void blend(int x, int y, const Colour& colour, double part);
  /// A line one pixel wide between two points, with soft edges.
  void line(double x0, double y0, double x1, double y1, const Colour& colour);
  /// Digits, letters (a small one as its capital) and . , - / % ( ), of 3 × 5 dots, each dot two pixels wide and high;
  /// other characters are left blank.
  void text(int x, int y, std::string_view text);
  void number(int x, int y, int value);  ///< as text()
  static constexpr int kTextHeight = 10, kTextAdvance = 8;
  int width() const { return image_.width; }
  int height() const { return image_.height; }
  Image take() { return std::move(image_); }

 private:
  Image image_;
};

}  // namespace melflow::files
