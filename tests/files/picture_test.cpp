#include "engine/files/picture.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/files/bytes.h"
#include "tests/support/shared.h"

namespace melflow::files {
namespace {

using testing::bytes_of;

uint32_t big_endian(const std::string& text, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(text[at + i]);
  return value;
}
int brightness(const Image& image, int x, int y) {
  const size_t at = (static_cast<size_t>(y) * static_cast<size_t>(image.width) + static_cast<size_t>(x)) * 3;
  return image.pixels[at] + image.pixels[at + 1] + image.pixels[at + 2];
}
/// Silent but for one mel, which is loud throughout.
audio::Mel line_at(int mel, int frames = 200) {
  audio::Mel lines{40, frames, std::vector<float>(static_cast<size_t>(40 * frames), -11.5f), std::nullopt};
  std::fill_n(lines.values.begin() + mel * frames, frames, 1.0f);
  return lines;
}
/// The rows of the column in the middle of the picture that are bright, but not the white of the margin.
std::vector<int> bright_rows(const Image& image) {
  std::vector<int> rows;
  for (int y = 0; y < image.height; ++y) {
    const int value = brightness(image, image.width / 2, y);
    if (value > 600 && value < 765) rows.push_back(y);
  }
  return rows;
}

TEST(Picture, PngHasItsSizesAndIsWhole) {
  const Image image{3, 2, std::vector<uint8_t>(18, 128)};
  const std::string png = testing::text_of(png_bytes(image));
  EXPECT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  EXPECT_EQ(big_endian(png, 16), 3u);
  EXPECT_EQ(big_endian(png, 20), 2u);
  EXPECT_EQ(png.substr(24, 2), "\x08\x02");  // 8 bits, RGB
  EXPECT_EQ(png.substr(png.size() - 8, 4), "IEND");
}

TEST(Picture, SizesThatDisagreeAreRefused) {
  EXPECT_THROW(png_bytes(Image{3, 2, std::vector<uint8_t>(17)}), Error);
  EXPECT_THROW(png_bytes(Image{}), Error);
  EXPECT_THROW(spectrogram_picture(audio::Mel{}), Error);
  EXPECT_THROW(spectrogram_picture(audio::Mel{2, 2, {1, 2, 3}, std::nullopt}), Error);
}

TEST(Picture, IsWrittenWholeAndNeverOverAnother) {
  const testing::TempDir folder;
  const Image image{1, 1, {1, 2, 3}};
  write_png(folder / "a.png", image, AtomicFile::Existing::refuse);
  EXPECT_EQ(testing::contents(folder / "a.png"), testing::text_of(png_bytes(image)));
  EXPECT_THROW(write_png(folder / "a.png", image, AtomicFile::Existing::refuse), Error);
}

TEST(Picture, LowFrequenciesAreAtTheBottom) {
  const auto low = bright_rows(spectrogram_picture(line_at(2))), high = bright_rows(spectrogram_picture(line_at(37)));
  ASSERT_EQ(low.size(), 3u);
  ASSERT_EQ(high.size(), 3u);
  EXPECT_EQ(low[0] - high[0], 35 * 3);
}

TEST(Picture, APairHasTheReferenceAbove) {
  const Image pair = spectrogram_pair(line_at(2), line_at(37));
  const Image single = spectrogram_picture(line_at(2));
  EXPECT_GT(pair.height, 2 * 40 * 3);
  EXPECT_EQ(pair.width, single.width);
  const auto rows = bright_rows(pair);
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_EQ(rows[0], bright_rows(single)[0]);  // where a single picture has its low line
  EXPECT_LT(rows[3] - rows[0], 40 * 3);        // and then the high line of the lower panel
}

TEST(Picture, ACurveStandsBelowItsMelOnTheSameAxis) {
  std::vector<float> values(200, 1.0f);
  values[150] = 3.0f;
  values[20] = std::numeric_limits<float>::quiet_NaN();
  const Image mel = spectrogram_picture(line_at(2)), both = spectrogram_with_curve(line_at(2), values);
  EXPECT_EQ(both.width, mel.width);
  ASSERT_GT(both.height, mel.height + 100);
  // Where the value is largest the ink is at the top of the lower panel, elsewhere at its bottom.
  const int left = both.width - 200 - 12;  // less the margin
  const auto highest_ink = [&](int frame) {
    int y = mel.height + 3;
    while (y < both.height && brightness(both, left + frame, y) > 500) ++y;
    return y;
  };
  EXPECT_LT(highest_ink(150) + 50, highest_ink(100));
  EXPECT_THROW(spectrogram_with_curve(line_at(2), {}), Error);
}

TEST(Picture, PanelsAreTheBandsAndFramesAlone) {
  const auto [reference, synthesis] = spectrogram_panels(line_at(2), line_at(37));
  EXPECT_EQ(reference.height, 40);
  EXPECT_EQ(reference.width, line_at(2).frames);
  EXPECT_EQ(bright_rows(reference), std::vector<int>{39 - 2});
  EXPECT_EQ(bright_rows(synthesis), std::vector<int>{39 - 37});
  EXPECT_EQ(spectrogram_panels(line_at(3, 100'000), line_at(3)).first.height, 40);
}

TEST(Picture, ALongMelStaysNarrow) {
  const Image image = spectrogram_picture(line_at(3, 100'000));
  EXPECT_LE(image.width, 4096 + 100);
  EXPECT_EQ(bright_rows(image).size(), 3u);
}

TEST(Picture, TicksStandAtSecondsWhereTheRecipeIsKnown) {
  audio::Mel mel = line_at(3);
  const Image frames = spectrogram_picture(mel);
  mel.recipe = audio::MelOptions{};
  EXPECT_NE(spectrogram_picture(mel).pixels, frames.pixels);
}

}  // namespace
}  // namespace melflow::files
