#include "engine/files/chart.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "base/error.h"
#include "engine/files/canvas.h"

namespace melflow::files {
namespace {

constexpr int kSide = 256;   // pixels of a panel
constexpr int kMargin = 10;  // pixels around and between panels
constexpr int kAxis = 18;    // pixels below a panel for its numbers
constexpr int kLine = 16;    // pixels from one line of text to the next
constexpr Colour kCurves[] = {{31, 119, 180}, {214, 90, 40}, {44, 140, 60},
                              {140, 80, 170}, {190, 140, 0}, {0, 160, 170}};
constexpr Colour kUnnamed = {150, 150, 150};

int text_width(std::string_view text) { return static_cast<int>(text.size()) * Canvas::kTextAdvance; }

/// A panel of the canvas onto which a window of the plane is mapped.
class Panel {
 public:
  Panel(Canvas& canvas, int left, int top, int width, int height, const Window& window)
      : canvas_(canvas), left_(left), top_(top), width_(width), height_(height), window_(window) {}

  double x(double value) const { return left_ + (value - window_.left) / (window_.right - window_.left) * width_; }
  double y(double value) const { return top_ + (window_.top - value) / (window_.top - window_.bottom) * height_; }
  bool holds(double px, double py) const {
    return px >= left_ && px < left_ + width_ && py >= top_ && py < top_ + height_;
  }
  void line(double x0, double y0, double x1, double y1, const Colour& colour) const {
    if (holds(x(x0), y(y0)) && holds(x(x1), y(y1))) canvas_.line(x(x0), y(y0), x(x1), y(y1), colour);
  }
  void frame() const {
    for (int i = 0; i <= width_; ++i) {
      canvas_.put(left_ + i, top_, kInk);
      canvas_.put(left_ + i, top_ + height_, kInk);
    }
    for (int i = 0; i <= height_; ++i) {
      canvas_.put(left_, top_ + i, kInk);
      canvas_.put(left_ + width_, top_ + i, kInk);
    }
    canvas_.text(left_, top_ + height_ + 5, axis_number(window_.left, window_.right - window_.left));
    const auto right = axis_number(window_.right, window_.right - window_.left);
    canvas_.text(left_ + width_ - text_width(right), top_ + height_ + 5, right);
  }
  /// The frame of a plane, with the other axis's numbers too where that has another scale.
  void plane_frame() const {
    frame();
    const double across = window_.right - window_.left, up = window_.top - window_.bottom;
    if (std::abs(up - across) < 1e-9 * across) return;
    const auto vertical = "y " + axis_number(window_.bottom, up) + " to " + axis_number(window_.top, up);
    canvas_.text(left_ + (width_ - text_width(vertical)) / 2, top_ + height_ + 5, vertical);
  }

 private:
  Canvas& canvas_;
  int left_, top_, width_, height_;
  Window window_;
};

void dots(Canvas& canvas, const Panel& panel, std::span<const float> points) {
  // The more points there are, the fainter each is, so that density shows.
  const double part = std::clamp(600.0 / std::max<double>(1, static_cast<double>(points.size())), 0.08, 0.6);
  for (size_t i = 0; i + 1 < points.size(); i += 2) {
    const double x = panel.x(points[i]), y = panel.y(points[i + 1]);
    if (!std::isfinite(x) || !std::isfinite(y) || !panel.holds(x, y) || !panel.holds(x + 1, y + 1)) continue;
    for (int p = 0; p < 4; ++p) {
      canvas.blend(static_cast<int>(x) + p % 2, static_cast<int>(y) + p / 2, kCurves[0], part);
    }
  }
}

void draw_curve(const Panel& panel, std::span<const float> points, const Colour& colour) {
  for (size_t i = 0; i + 3 < points.size(); i += 2) {
    panel.line(points[i], points[i + 1], points[i + 2], points[i + 3], colour);
  }
}

Window bounds_of(std::span<const Curve> curves, const Axes& axes) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Window w{kInfinity, -kInfinity, kInfinity, -kInfinity};
  for (const auto& [name, points] : curves) {
    for (size_t i = 0; i + 1 < points.size(); i += 2) {
      if (!std::isfinite(points[i]) || !std::isfinite(points[i + 1])) continue;
      w.left = std::min<double>(w.left, points[i]);
      w.right = std::max<double>(w.right, points[i]);
      w.bottom = std::min<double>(w.bottom, points[i + 1]);
      w.top = std::max<double>(w.top, points[i + 1]);
    }
  }
  if (!(w.right > w.left)) {
    throw Error(Exit::bad_data, "a curve of " + axes.y + " over " + axes.x + " needs two points; none are there");
  }
  const double air = std::max(1e-3, (w.top - w.bottom) * 0.05);
  return {w.left, w.right + (w.right - w.left) * 1e-3, w.bottom - air, w.top + air};
}

/// A curve's name and its colour, and where the name stands: x from the panel's left, y from the legend's top.
struct LegendEntry {
  std::string_view name;
  Colour colour;
  int x, y;
};
constexpr int kSample = 24;  // pixels of the line before a name and the room behind it

/// A line of text or more, as wide as the panel at most; nothing where there is one name alone.
std::vector<LegendEntry> legend_of(std::span<const Curve> curves, int width) {
  std::vector<LegendEntry> out;
  int x = 0, y = 0;
  for (const auto& [name, points] : curves) {
    if (name.empty()) continue;
    const int needed = kSample + text_width(name);
    if (x > 0 && x + needed > width) {
      x = 0;
      y += kLine;
    }
    out.push_back({name, kCurves[out.size() % std::size(kCurves)], x, y});
    x += needed + kMargin;
  }
  if (out.size() < 2) out.clear();
  return out;
}

}  // namespace

Image scatter_picture(std::span<const std::vector<float>> sets, const Window& window) {
  const int count = static_cast<int>(sets.size());
  Canvas canvas(kMargin + count * (kSide + kMargin), kMargin + kSide + kAxis);
  for (int i = 0; i < count; ++i) {
    const Panel panel(canvas, kMargin + i * (kSide + kMargin), kMargin, kSide, kSide, window);
    dots(canvas, panel, sets[static_cast<size_t>(i)]);
    panel.plane_frame();
  }
  return canvas.take();
}

Image heat_map(std::span<const float> values, int columns, const Window& window) {
  const int rows = columns > 0 ? static_cast<int>(values.size()) / columns : 0;
  if (rows == 0) throw Error(Exit::internal, "heat_map: nothing to draw");
  const float peak = *std::max_element(values.begin(), values.end());
  Canvas canvas(kSide + 2 * kMargin, kMargin + kSide + kAxis);
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const int row = (kSide - 1 - y) * rows / kSide, column = x * columns / kSide;
      const float value = values[static_cast<size_t>(row) * static_cast<size_t>(columns) + static_cast<size_t>(column)];
      canvas.put(kMargin + x, kMargin + y, magma(peak > 0 ? value / peak : 0));
    }
  }
  Panel(canvas, kMargin, kMargin, kSide, kSide, window).plane_frame();
  return canvas.take();
}

Image curve_picture(std::span<const std::vector<float>> curves, const Window& window) {
  Canvas canvas(kSide + 2 * kMargin, kMargin + kSide + kAxis);
  const Panel panel(canvas, kMargin, kMargin, kSide, kSide, window);
  for (const auto& curve : curves) draw_curve(panel, curve, kCurves[0]);
  panel.plane_frame();
  return canvas.take();
}

Image line_chart(std::span<const Curve> curves, const Axes& axes) {
  const auto window = bounds_of(curves, axes);
  constexpr int kLabel = 48, kWidth = 2 * kSide;
  const auto legend = legend_of(curves, kWidth);
  const int names = kMargin + kLine, top = names + (legend.empty() ? 0 : legend.back().y + kLine);
  Canvas canvas(kLabel + kWidth + 2 * kMargin, top + kSide + kAxis);
  const Panel panel(canvas, kLabel, top, kWidth, kSide, window);
  size_t named = 0;
  for (const auto& [name, points] : curves) {
    draw_curve(panel, points, name.empty() ? kUnnamed : kCurves[named++ % std::size(kCurves)]);
  }
  panel.frame();
  canvas.text(2, kMargin, axes.y);
  for (const auto& [name, colour, x, y] : legend) {
    const int line = names + y + Canvas::kTextHeight / 2;
    for (int i = 0; i < 2; ++i) canvas.line(kLabel + x, line + i, kLabel + x + kSample - 8, line + i, colour);
    canvas.text(kLabel + x + kSample, names + y, name);
  }
  canvas.text(kLabel + (kWidth - text_width(axes.x)) / 2, top + kSide + 5, axes.x);
  canvas.text(2, top, axis_number(window.top, window.top - window.bottom));
  canvas.text(2, top + kSide - Canvas::kTextHeight, axis_number(window.bottom, window.top - window.bottom));
  return canvas.take();
}

namespace {

/// How pictures lie in a grid: each of them and the gap behind it, and the whole, in pixels.
struct Grid {
  Grid(int64_t count, int height, int width, int columns)
      : zoom(std::max(1, 40 / std::max(height, width))),
        across(width * zoom + kGap),
        down(height * zoom + kGap),
        wide(std::min<int64_t>(columns, count) * across + kGap),
        high((count + columns - 1) / columns * down + kGap) {}
  static constexpr int kGap = 2;
  int zoom, across, down;
  int64_t wide, high;
};

}  // namespace

void require_grid(int64_t count, int height, int width, int columns) {
  constexpr int64_t kMostPixels = 1'000'000;  // of a side: libpng's own limit
  const Grid grid(count, height, width, columns);
  if (std::max(grid.wide, grid.high) <= kMostPixels) return;
  throw Error(Exit::usage, "the picture would have " + std::to_string(grid.wide) + " x " + std::to_string(grid.high) +
                               " pixels, and a .png has at most " + std::to_string(kMostPixels) +
                               " a side; take fewer images, or other --columns");
}

Image image_grid(std::span<const float> pixels, const ImageSize& size, int columns) {
  const int channels = size.channels, height = size.height, width = size.width;
  const auto plane = static_cast<size_t>(height) * static_cast<size_t>(width);
  const auto item = plane * static_cast<size_t>(channels);
  const int count = item > 0 ? static_cast<int>(pixels.size() / item) : 0;
  if (count == 0 || columns <= 0 || (channels != 1 && channels != 3))
    throw Error(Exit::internal, "image_grid: nothing to draw");
  require_grid(count, height, width, columns);
  const Grid grid(count, height, width, columns);
  const int zoom = grid.zoom, across = width * zoom;
  Canvas canvas(static_cast<int>(grid.wide), static_cast<int>(grid.high));
  for (int i = 0; i < count; ++i) {
    const int left = Grid::kGap + i % columns * grid.across, top = Grid::kGap + i / columns * grid.down;
    const float* const image = pixels.data() + static_cast<size_t>(i) * item;
    for (int p = 0; p < height * zoom * across; ++p) {
      const int x = p % across, y = p / across;
      const float* const pixel = image + y / zoom * width + x / zoom;
      const auto byte = [&](int channel) {
        const float value = pixel[static_cast<size_t>(channel % channels) * plane];
        return static_cast<uint8_t>(std::lround(255 * std::clamp(value, 0.0f, 1.0f)));
      };
      canvas.put(left + x, top + y, {byte(0), byte(1), byte(2)});
    }
  }
  return canvas.take();
}

Image side_by_side(std::span<const Image> images) {
  int width = 0, height = 0;
  for (const auto& image : images) {
    width += image.width;
    height = std::max(height, image.height);
  }
  Canvas canvas(width, height);
  int left = 0;
  for (const auto& image : images) {
    for (int p = 0; p < image.width * image.height; ++p) {
      const auto at = static_cast<size_t>(p) * 3;
      canvas.put(left + p % image.width, p / image.width,
                 {image.pixels[at], image.pixels[at + 1], image.pixels[at + 2]});
    }
    left += image.width;
  }
  return canvas.take();
}

}  // namespace melflow::files
