#include "engine/files/chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "audio/error.h"
#include "engine/files/canvas.h"

namespace melflow::files {
namespace {

constexpr int kSide = 256;   // pixels of a panel
constexpr int kMargin = 10;  // pixels around and between panels
constexpr int kAxis = 18;    // pixels below a panel for its numbers
constexpr Colour kCurves[] = {{31, 119, 180}, {214, 90, 40}, {44, 140, 60}, {140, 80, 170}};

std::string shown(double value) {
  char text[32];
  std::snprintf(text, sizeof text, std::abs(value) < 10 ? "%.2f" : "%.0f", value);
  return text;
}

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
    canvas_.text(left_, top_ + height_ + 5, shown(window_.left));
    const auto right = shown(window_.right);
    canvas_.text(left_ + width_ - static_cast<int>(right.size()) * 8, top_ + height_ + 5, right);
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

Window bounds_of(std::span<const std::vector<float>> curves) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Window w{kInfinity, -kInfinity, kInfinity, -kInfinity};
  for (const auto& curve : curves) {
    for (size_t i = 0; i + 1 < curve.size(); i += 2) {
      if (!std::isfinite(curve[i]) || !std::isfinite(curve[i + 1])) continue;
      w.left = std::min<double>(w.left, curve[i]);
      w.right = std::max<double>(w.right, curve[i]);
      w.bottom = std::min<double>(w.bottom, curve[i + 1]);
      w.top = std::max<double>(w.top, curve[i + 1]);
    }
  }
  if (!(w.right > w.left)) throw Error(Exit::bad_data, "a training's curve needs two points at least; none are there");
  const double air = std::max(1e-3, (w.top - w.bottom) * 0.05);
  return {w.left, w.right + (w.right - w.left) * 1e-3, w.bottom - air, w.top + air};
}

}  // namespace

Image scatter_picture(std::span<const std::vector<float>> sets, const Window& window) {
  const int count = static_cast<int>(sets.size());
  Canvas canvas(kMargin + count * (kSide + kMargin), kMargin + kSide + kAxis);
  for (int i = 0; i < count; ++i) {
    const Panel panel(canvas, kMargin + i * (kSide + kMargin), kMargin, kSide, kSide, window);
    dots(canvas, panel, sets[static_cast<size_t>(i)]);
    panel.frame();
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
  Panel(canvas, kMargin, kMargin, kSide, kSide, window).frame();
  return canvas.take();
}

Image curve_picture(std::span<const std::vector<float>> curves, const Window& window) {
  Canvas canvas(kSide + 2 * kMargin, kMargin + kSide + kAxis);
  const Panel panel(canvas, kMargin, kMargin, kSide, kSide, window);
  for (const auto& curve : curves) draw_curve(panel, curve, kCurves[0]);
  panel.frame();
  return canvas.take();
}

Image training_picture(std::span<const std::vector<float>> curves) {
  const auto window = bounds_of(curves);
  constexpr int kLabel = 48;
  Canvas canvas(kLabel + 2 * kSide + 2 * kMargin, kMargin + kSide + kAxis);
  const Panel panel(canvas, kLabel, kMargin, 2 * kSide, kSide, window);
  for (size_t i = 0; i < curves.size(); ++i) draw_curve(panel, curves[i], kCurves[i % std::size(kCurves)]);
  panel.frame();
  canvas.text(2, kMargin, shown(window.top));
  canvas.text(2, kMargin + kSide - 10, shown(window.bottom));
  return canvas.take();
}

Image grey_grid(std::span<const float> pixels, int height, int width, int columns) {
  const auto item = static_cast<size_t>(height) * static_cast<size_t>(width);
  const int count = item > 0 ? static_cast<int>(pixels.size() / item) : 0;
  if (count == 0 || columns <= 0) throw Error(Exit::internal, "grey_grid: nothing to draw");
  const int zoom = std::max(1, 40 / std::max(height, width)), gap = 2;
  columns = std::min(columns, count);
  const int rows = (count + columns - 1) / columns;
  Canvas canvas(columns * (width * zoom + gap) + gap, rows * (height * zoom + gap) + gap);
  for (int i = 0; i < count; ++i) {
    const int left = gap + i % columns * (width * zoom + gap), top = gap + i / columns * (height * zoom + gap);
    for (int p = 0; p < height * zoom * width * zoom; ++p) {
      const int x = p % (width * zoom), y = p / (width * zoom);
      const float value = pixels[static_cast<size_t>(i) * item + static_cast<size_t>(y / zoom * width + x / zoom)];
      const auto grey = static_cast<uint8_t>(std::lround(255 * std::clamp(value, 0.0f, 1.0f)));
      canvas.put(left + x, top + y, {grey, grey, grey});
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
