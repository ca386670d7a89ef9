#include "engine/files/picture.h"

#include <png.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "base/error.h"
#include "engine/files/canvas.h"

namespace melflow::files {
namespace {

constexpr int kMargin = 12;        // pixels around and between panels
constexpr int kAxis = 18;          // pixels below a panel for its ticks and numbers
constexpr int kLabel = 40;         // pixels left of a panel for its edge frequencies
constexpr int kRowsPerMel = 3;     // pixels
constexpr int kMaxWidth = 4096;    // pixels of a panel; longer mels are drawn by the loudest frame of each pixel
constexpr int kCurveHeight = 120;  // pixels of the panel of a curve
constexpr float kRange = 9.21f;    // nepers (ln units), 80 dB: what lies further below the peak is drawn black

void require_drawable(const audio::Mel& mel) {
  const bool sized = mel.n_mels > 0 && mel.frames > 0 &&
                     mel.values.size() == static_cast<size_t>(mel.n_mels) * static_cast<size_t>(mel.frames);
  if (!sized) throw Error(Exit::bad_data, "an empty mel cannot be drawn; give one with at least one frame");
}

float peak_of(const audio::Mel& mel) {
  float peak = std::numeric_limits<float>::lowest();
  for (const float value : mel.values) {
    if (std::isfinite(value)) peak = std::max(peak, value);
  }
  return peak;
}

int frames_per_pixel(int frames) { return (frames + kMaxWidth - 1) / kMaxWidth; }
int panel_width(int frames) { return (frames + frames_per_pixel(frames) - 1) / frames_per_pixel(frames); }
int panel_height(const audio::Mel& mel) { return mel.n_mels * kRowsPerMel; }

/// The lower left corner is (left, bottom); `step` frames share a pixel column, a band has `rows` pixels.
void draw_bands(Canvas& canvas, const audio::Mel& mel, int left, int bottom, float peak, int step, int rows) {
  for (int m = 0; m < mel.n_mels; ++m) {
    const float* row = mel.values.data() + static_cast<ptrdiff_t>(m) * mel.frames;
    for (int frame = 0; frame < mel.frames; frame += step) {
      const float loudest = *std::max_element(row + frame, row + std::min(frame + step, mel.frames));
      const float loudness = std::isfinite(loudest) ? 1.0f + (loudest - peak) / kRange : 0.0f;
      const Colour colour = magma(loudness);
      for (int i = 0; i < rows; ++i) canvas.put(left + frame / step, bottom - m * rows - i, colour);
    }
  }
}

/// The panel's top left corner is (left, top).
void draw_panel(Canvas& canvas, const audio::Mel& mel, int left, int top, float peak, int step) {
  const int bottom = top + panel_height(mel) - 1;
  draw_bands(canvas, mel, left, bottom, peak, step, kRowsPerMel);
  canvas.number(kMargin, top, mel.recipe ? static_cast<int>(std::lround(mel.recipe->f_max)) : mel.n_mels - 1);
  canvas.number(kMargin, bottom - 9, mel.recipe ? static_cast<int>(std::lround(mel.recipe->f_min)) : 0);
}

/// Ticks each second, or each 100 frames; numbers only where they have room.
void draw_time(Canvas& canvas, const audio::Mel& mel, int left, int y, int frames, int step) {
  constexpr int kNumberRoom = 48;  // pixels
  const bool timed = mel.recipe && mel.recipe->hop_length > 0 && mel.recipe->sample_rate > 0;
  const double frames_per_tick = timed ? static_cast<double>(mel.recipe->sample_rate) / mel.recipe->hop_length : 100.0;
  const double pixels = frames_per_tick / step;
  const int every = std::max(1, static_cast<int>(std::ceil(kNumberRoom / pixels)));
  for (int tick = 0; tick * every * pixels < panel_width(frames); ++tick) {
    const int x = left + static_cast<int>(tick * every * pixels);
    for (int i = 0; i < 4; ++i) canvas.put(x, y + i, kInk);
    canvas.number(x + 2, y + 6, timed ? tick * every : tick * every * 100);
  }
}

/// One value a frame, in a frame of kCurveHeight pixels whose top left corner is (left, top).
void draw_curve(Canvas& canvas, std::span<const float> values, int left, int top, int step) {
  float low = std::numeric_limits<float>::max(), high = std::numeric_limits<float>::lowest();
  for (const float v : values) {
    if (!std::isfinite(v)) continue;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  const int width = panel_width(static_cast<int>(values.size()));
  for (int x = 0; x < width; ++x) {
    canvas.put(left + x, top, kInk);
    canvas.put(left + x, top + kCurveHeight - 1, kInk);
  }
  if (low > high) return;
  const double range = std::max(1e-6, static_cast<double>(high) - low);
  double last = std::numeric_limits<double>::quiet_NaN();
  for (int x = 0; x < width; ++x) {
    const auto begin = static_cast<size_t>(x) * static_cast<size_t>(step);
    const auto column = values.subspan(begin, std::min(static_cast<size_t>(step), values.size() - begin));
    const double y = top + (high - *std::ranges::max_element(column)) / range * (kCurveHeight - 1);
    if (std::isfinite(last) && std::isfinite(y)) canvas.line(left + x - 1, last, left + x, y, kInk);
    last = y;
  }
  canvas.text(2, top, axis_number(high));
  canvas.text(2, top + kCurveHeight - Canvas::kTextHeight, axis_number(low));
}

}  // namespace

Image spectrogram_picture(const audio::Mel& mel) {
  require_drawable(mel);
  const int left = kMargin + kLabel, top = kMargin;
  Canvas canvas(left + panel_width(mel.frames) + kMargin, top + panel_height(mel) + kAxis + kMargin);
  const int step = frames_per_pixel(mel.frames);
  draw_panel(canvas, mel, left, top, peak_of(mel), step);
  draw_time(canvas, mel, left, top + panel_height(mel), mel.frames, step);
  return canvas.take();
}

Image spectrogram_pair(const audio::Mel& reference, const audio::Mel& synthesis) {
  require_drawable(reference);
  require_drawable(synthesis);
  const int frames = std::max(reference.frames, synthesis.frames);
  const int left = kMargin + kLabel, top = kMargin, second = top + panel_height(reference) + kMargin;
  Canvas canvas(left + panel_width(frames) + kMargin, second + panel_height(synthesis) + kAxis + kMargin);
  const float peak = std::max(peak_of(reference), peak_of(synthesis));
  const int step = frames_per_pixel(frames);
  draw_panel(canvas, reference, left, top, peak, step);
  draw_panel(canvas, synthesis, left, second, peak, step);
  draw_time(canvas, synthesis, left, second + panel_height(synthesis), frames, step);
  return canvas.take();
}

Image spectrogram_with_curve(const audio::Mel& mel, std::span<const float> values) {
  require_drawable(mel);
  if (values.empty()) throw Error(Exit::internal, "spectrogram_with_curve: nothing to draw below the mel");
  const int frames = std::max(mel.frames, static_cast<int>(values.size())), step = frames_per_pixel(frames);
  const int left = kMargin + kLabel, top = kMargin, second = top + panel_height(mel) + kMargin;
  Canvas canvas(left + panel_width(frames) + kMargin, second + kCurveHeight + kAxis + kMargin);
  draw_panel(canvas, mel, left, top, peak_of(mel), step);
  draw_curve(canvas, values, left, second, step);
  draw_time(canvas, mel, left, second + kCurveHeight, frames, step);
  return canvas.take();
}

std::pair<Image, Image> spectrogram_panels(const audio::Mel& reference, const audio::Mel& synthesis) {
  require_drawable(reference);
  require_drawable(synthesis);
  const float peak = std::max(peak_of(reference), peak_of(synthesis));
  const auto panel = [&](const audio::Mel& mel) {
    Canvas canvas(panel_width(mel.frames), mel.n_mels);
    draw_bands(canvas, mel, 0, mel.n_mels - 1, peak, frames_per_pixel(mel.frames), /*rows=*/1);
    return canvas.take();
  };
  return {panel(reference), panel(synthesis)};
}

std::vector<std::byte> png_bytes(const Image& image) {
  const bool sized = image.width > 0 && image.height > 0 &&
                     image.pixels.size() == static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * 3;
  if (!sized) throw Error(Exit::internal, "png_bytes: the image's sizes and pixels disagree");
  png_image control{};
  control.version = PNG_IMAGE_VERSION;
  control.width = static_cast<png_uint_32>(image.width);
  control.height = static_cast<png_uint_32>(image.height);
  control.format = PNG_FORMAT_RGB;
  std::vector<std::byte> bytes(PNG_IMAGE_PNG_SIZE_MAX(control));
  png_alloc_size_t size = bytes.size();
  const int written = png_image_write_to_memory(&control, bytes.data(), &size, /*convert_to_8_bit=*/0,
                                                image.pixels.data(), /*row_stride=*/0, /*colormap=*/nullptr);
  if (!written) throw Error(Exit::internal, std::string("png_bytes: libpng: ") + control.message);
  bytes.resize(size);
  return bytes;
}

void write_png(const std::filesystem::path& path, const Image& image, AtomicFile::Existing existing) {
  write_file(path, png_bytes(image), existing);
}

}  // namespace melflow::files
