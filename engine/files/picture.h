#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "audio/mel.h"
#include "base/atomic_file.h"

namespace melflow::files {

/// RGB, 8 bits each; the first row is the top one.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> pixels;  ///< [height, width, 3]
};

/// A mel as a picture: time to the right, low frequency at the bottom, from dark (quiet) to bright (loud) over the
/// loudest 80 dB, with a plain margin, a tick each second (each 100 frames where the recipe is unknown) and the
/// frequencies of the edges in Hz (mel numbers where unknown). Throws Error{bad_data} for an empty mel.
Image spectrogram_picture(const audio::Mel& mel);

/// Two mels on one colour scale and one time axis: the reference above, what was synthesised from it below.
Image spectrogram_pair(const audio::Mel& reference, const audio::Mel& synthesis);

/// A mel above, and below it, on the same time axis, one value a frame (the largest of a pixel column's), with the
/// smallest and the largest as numbers: where a recording surprises a voice. Values that are not finite leave gaps.
Image spectrogram_with_curve(const audio::Mel& mel, std::span<const float> values);

/// The same two as panels alone, a pixel for each band and frame: for a page that stretches them over its own axes.
std::pair<Image, Image> spectrogram_panels(const audio::Mel& reference, const audio::Mel& synthesis);

/// The picture as a PNG file in memory. Throws Error{internal} where sizes and pixels disagree.
std::vector<std::byte> png_bytes(const Image& image);
/// The same, written atomically. Throws as png_bytes and AtomicFile do.
void write_png(const std::filesystem::path& path, const Image& image, AtomicFile::Existing existing);

}  // namespace melflow::files
