#include <gtest/gtest.h>
#include <sndfile.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>
#include <vector>

#include "audio/sound_file.h"
#include "base/error.h"
#include "tests/support/refusal.h"
#include "tests/support/shared.h"

// Every odd, damaged and hostile audio file of the collection: read as libsndfile itself reads it, or refused in one
// line. Nothing may crash or hang.
namespace melflow::audio {
namespace {

using melflow::testing::shared;

/// What libsndfile delivers in one go, channels averaged; empty where it does not open the file.
std::vector<float> read_by_libsndfile(const std::filesystem::path& path) {
  SF_INFO info{};
  const std::unique_ptr<SNDFILE, int (*)(SNDFILE*)> file(sf_open(path.c_str(), SFM_READ, &info), &sf_close);
  if (!file) return {};
  std::vector<float> mono, frame(static_cast<size_t>(info.channels));
  while (sf_readf_float(file.get(), frame.data(), 1) == 1) {
    double sum = 0.0;
    for (const float sample : frame) sum += sample;
    mono.push_back(static_cast<float>(sum / info.channels));
  }
  return mono;
}

TEST(OddAudioCollection, IsReadLikeLibsndfileOrRefusedInOneLine) {
  REQUIRE_SHARED("data/odd_audio");
  int read = 0, refused = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(shared("data/odd_audio"))) {
    if (!entry.is_regular_file()) continue;
    SCOPED_TRACE(entry.path().string());
    const auto start = std::chrono::steady_clock::now();
    try {
      const Waveform sound = read_audio(entry.path());
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      EXPECT_LT(seconds.count(), 2.0);
      EXPECT_GT(sound.sample_rate, 0);
      EXPECT_TRUE(std::ranges::all_of(sound.samples, [](float sample) { return std::isfinite(sample); }));
      EXPECT_TRUE(sound.samples == read_by_libsndfile(entry.path()));
      ++read;
    } catch (const Error& error) {
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      EXPECT_LT(seconds.count(), 2.0);
      const std::string message = error.what();
      EXPECT_EQ(error.code(), Exit::bad_data);
      EXPECT_TRUE(message.starts_with(entry.path().string() + ": ")) << message;
      EXPECT_EQ(message.find('\n'), std::string::npos) << message;
      const bool cut = message.find("is cut short") != std::string::npos;  // of which libsndfile says nothing
      EXPECT_TRUE(cut || read_by_libsndfile(entry.path()).empty()) << "libsndfile reads it: " << message;
      ++refused;
    }
  }
  EXPECT_GE(read, 80);
  EXPECT_GE(refused, 10);
  rusage usage{};
  ASSERT_EQ(::getrusage(RUSAGE_SELF, &usage), 0);
  EXPECT_LT(usage.ru_maxrss, 1024 * 1024) << "KiB";
}

/// libsndfile itself takes what is there for the whole.
TEST(CutAudio, IsRefusedInEveryFormatThatTellsItsLength) {
  const melflow::testing::TempDir folder;
  const std::vector<float> sound(22050, 0.25f);
  for (const int format :
       {int{SF_FORMAT_WAV}, SF_FORMAT_WAV | SF_ENDIAN_BIG, int{SF_FORMAT_RF64}, int{SF_FORMAT_W64}, int{SF_FORMAT_AIFF},
        SF_FORMAT_AIFF | SF_ENDIAN_LITTLE, int{SF_FORMAT_AU}}) {  // the sixth is an AIFC
    const auto path = folder / ("sound-" + std::to_string(format));
    SF_INFO info{};
    info.channels = 1;
    info.samplerate = 22050;
    info.format = format | SF_FORMAT_PCM_16;
    auto* const file = sf_open(path.c_str(), SFM_WRITE, &info);
    ASSERT_NE(file, nullptr) << format;
    ASSERT_EQ(sf_write_float(file, sound.data(), 22050), 22050);
    sf_close(file);
    EXPECT_EQ(read_audio(path).samples.size(), 22050u) << format;
    std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
    testing::expect_refused([&] { read_audio(path); }, Exit::bad_data, path.string(), "is cut short");
  }
}

}  // namespace
}  // namespace melflow::audio
