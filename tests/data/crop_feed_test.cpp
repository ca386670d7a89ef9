// The batches that a training gets of a corpus.
#include "engine/data/crop_feed.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "tests/data/corpus_fixture.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;
using namespace melflow::testing;

using CropFeedTest = CorpusTest;

TEST_F(CropFeedTest, ABatchIsAFunctionOfItsNumberWhateverTheWorkersAndTheWindow) {
  for (const int64_t shuffle_mb : {0, 512}) {  // 0: one megabyte, then windows are entered and left
    for (int i = 6; i < 40 && shuffle_mb == 0; ++i) write(data() / ("more" + std::to_string(i) + ".wav"), tone(1, i));
    const auto corpus = open({data()}, {.shuffle_mb = shuffle_mb});
    // Of the two windows that there are then, the end of one and the beginning of the other.
    const auto straight = heard(corpus, 0, 60, 50);
    EXPECT_EQ(heard(corpus, 1, 60, 50), straight);
    EXPECT_EQ(heard(corpus, 5, 60, 50), straight);
    const auto later = heard(open({data()}, {.shuffle_mb = shuffle_mb, .workers = 1}), 2, 80, 30);
    ASSERT_EQ(later.size() * 50, straight.size() * 30);
    EXPECT_TRUE(std::equal(later.begin(), later.end(), straight.end() - static_cast<int64_t>(later.size())));
  }
}

TEST_F(CropFeedTest, ACropsMelIsThatOfTheWholeRecording) {
  for (const char* recipe : {"waveglow", "hifigan"}) {
    const auto corpus = open({data()}, {.mel = audio::mel_recipe(recipe), .hold_out_every = 0});
    audio::MelExtractor extract(corpus->options().mel);
    const auto sound = corpus->sound(*corpus->slot(2));
    const auto whole = extract({corpus->at_level(*sound, 0, static_cast<int64_t>(sound->samples.size())), 22050});
    for (const int64_t first : {-3, 0, 1, 2, 7, 20, whole.frames - 9, whole.frames - 2, whole.frames + 5}) {
      const auto part = corpus->mel_frames(*sound, first, 8, extract);
      for (int64_t m = 0; m < whole.n_mels; ++m) {
        for (int64_t f = first; f < first + 8; ++f) {
          const bool inside = f >= 0 && f < whole.frames;
          const auto expected = inside ? whole.values[static_cast<size_t>(m * whole.frames + f)]
                                       : static_cast<float>(std::log(whole.recipe->log_floor));
          ASSERT_EQ(part[static_cast<size_t>(m * 8 + f - first)], expected) << recipe << " " << m << " " << f;
        }
      }
    }
  }
}

TEST_F(CropFeedTest, CropsReachTheEndOfARecording) {
  audio::Waveform sound = tone(0.2);
  sound.samples.resize(9 * 256);  // a frame more than a crop
  write(other("one.wav"), sound);
  const auto corpus = open({other("one.wav")}, {.hold_out_every = 0});
  const auto whole = corpus->at_level(*corpus->sound(*corpus->slot(0)), 0, 9 * 256);
  CropFeed feed(corpus, {.batch_size = 1, .dequantise = 0, .workers = 0});
  std::array<int, 2> begun{};
  for (int64_t batch = 0; batch < 20; ++batch) {
    const auto crop = feed.take(batch).x;
    const size_t frame = std::equal(crop.begin(), crop.end(), whole.begin()) ? 0 : 1;
    ASSERT_TRUE(std::equal(crop.begin(), crop.end(), whole.begin() + static_cast<ptrdiff_t>(256 * frame))) << batch;
    ++begun[frame];
  }
  EXPECT_GT(begun[0], 0);
  EXPECT_GT(begun[1], 0);
}

TEST_F(CropFeedTest, DequantisationIsAsWideAsAStepOfTheRecordings) {
  const auto corpus = open({data()}, {.hold_out_every = 0});
  const auto crop = [&](double dequantise) {
    CropFeed feed(corpus, {.batch_size = 3, .dequantise = dequantise, .workers = 0});
    return feed.take(0).x;
  };
  const auto plain = crop(0), noisy = crop(2);
  const double step = corpus->gain() / 32768;
  double least = 0, most = 0, squares = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double noise = (static_cast<double>(noisy[i]) - plain[i]) / step;
    least = std::min(least, noise);
    most = std::max(most, noise);
    squares += noise * noise;
  }
  EXPECT_NEAR(least, -1, 0.01);
  EXPECT_NEAR(most, 1, 0.01);
  EXPECT_NEAR(squares / static_cast<double>(plain.size()), 1.0 / 3, 0.02);  // uniform
}

TEST_F(CropFeedTest, WhereNothingCanBeUsedWhoWaitsForABatchIsTold) {
  fs::create_directories(other("silent"));
  for (int i = 0; i < 30; ++i) {  // more than the window, so that none is looked at first
    write(other("silent") / ("clip" + std::to_string(i) + ".wav"), {std::vector<float>(22050, 0.0f), 22050});
  }
  const auto corpus = open({other("silent")}, {.level = 0, .hold_out_every = 0, .shuffle_mb = 0});
  for (const int workers : {0, 2}) {
    CropFeed feed(corpus, {.batch_size = 3, .workers = workers});
    EXPECT_THROW(feed.take(0), Error) << workers;
  }
}

}  // namespace
}  // namespace melflow::engine
