#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/files/picture.h"

namespace melflow::files {

/// A square of the plane, [left, right] × [bottom, top].
struct Window {
  double left, right, bottom, top;
};

/// Points (x, y alternating) as soft dots, a panel for each set, side by side, with the window's edges as numbers.
Image scatter_picture(std::span<const std::vector<float>> sets, const Window& window);

/// A function on a grid, values [rows, columns] with the lowest row first: bright is large.
Image heat_map(std::span<const float> values, int columns, const Window& window);

/// Curves of points (x, y alternating) in one panel, such as a grid's lines.
Image curve_picture(std::span<const std::vector<float>> curves, const Window& window);

/// A curve of a chart: points (x, y alternating) that are joined in their order, and what the legend calls it; one
/// without a name is grey and stands in no legend, such as a line at zero.
struct Curve {
  std::string name;
  std::vector<float> points;
};

/// What stands at the axes: quantity and unit, "loss, nats", in the characters of Canvas::text.
struct Axes {
  std::string x, y;
};

/// Curves against a common horizontal axis, each in its own colour, with both axes' names and edges as numbers, and a
/// legend where there is more than one name. Points that are not finite are left out. Throws Error{bad_data} where no
/// two points differ in x.
Image line_chart(std::span<const Curve> curves, const Axes& axes);

/// Throws Error{usage} where a grid of so many pictures would be larger than a .png may be.
void require_grid(int64_t count, int height, int width, int columns);
struct ImageSize {
  int channels, height, width;  ///< channels: 1, grey, or 3, red, green and blue
};
/// Pictures [count, channels, height, width], from 0, dark, to 1, in rows of `columns`, enlarged by whole factors.
Image image_grid(std::span<const float> pixels, const ImageSize& size, int columns);

/// Pictures of one height side by side.
Image side_by_side(std::span<const Image> images);

}  // namespace melflow::files
