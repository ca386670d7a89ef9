// Recordings from folders and archives, as a training hears them.
#include "engine/data/corpus.h"

#include <algorithm>
#include <array>
#include <fstream>

#include "base/error.h"
#include "engine/data/crop_feed.h"
#include "engine/files/npy.h"
#include "tests/data/recordings.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;
using namespace melflow::testing;

class CorpusTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(data());
    for (int i = 0; i < 6; ++i) write(data() / ("clip" + std::to_string(i) + ".wav"), tone(0.3 + 0.1 * i, i));
  }
  fs::path data() const { return folder_ / "data"; }
  fs::path other(const std::string& name) const { return folder_ / name; }

  std::shared_ptr<Corpus> open(const std::vector<fs::path>& paths, CorpusOptions options = {}) {
    options.segment_frames = 8;
    auto clips = find_clips(paths, options.mel, options.workers);
    return std::make_shared<Corpus>(std::move(clips), options, [this](const std::string& l) { refused_.push_back(l); });
  }
  /// The folder's recordings as a shard.
  fs::path packed(const std::string& name, int first, int last) const {
    std::vector<std::pair<std::string, std::string>> members;
    for (int i = first; i < last; ++i) {
      const auto clip = "clip" + std::to_string(i) + ".wav";
      members.emplace_back(clip, content(data() / clip));
    }
    std::ofstream(other(name), std::ios::binary) << tar(members);
    return other(name);
  }

  TempDir folder_;
  std::vector<std::string> refused_;
};

std::vector<float> heard(const std::shared_ptr<Corpus>& corpus, int workers, int64_t first, int64_t count) {
  CropFeed feed(corpus, {.batch_size = 3, .warmup_frames = 2, .lookahead_frames = 3, .workers = workers});
  std::vector<float> out;
  for (int64_t batch = first; batch < first + count; ++batch) {
    const auto crops = feed.take(batch);
    out.insert(out.end(), crops.x.begin(), crops.x.end());
    out.insert(out.end(), crops.mel.begin(), crops.mel.end());
  }
  return out;
}

TEST_F(CorpusTest, UnusableRecordingsAreRefusedByName) {
  write(data() / "short.wav", tone(0.01));
  write(data() / "silent.wav", {std::vector<float>(22050, 0.0f), 22050});
  write(data() / "other_rate.wav", tone(0.9, 7, 16000));
  std::ofstream(data() / "broken.wav") << "RIFF nothing";
  std::ofstream(data() / "notes.txt") << "no audio";
  const auto corpus = open({data()}, {.hold_out_every = 3});
  EXPECT_EQ(corpus->training_clips() + corpus->held_out_clips(), 7);
  ASSERT_EQ(refused_.size(), 3u);
  EXPECT_NE(refused_[0].find("broken.wav"), std::string::npos);
  EXPECT_NE(refused_[1].find("short.wav"), std::string::npos);
  EXPECT_NE(refused_[2].find("silent.wav"), std::string::npos);
}

TEST_F(CorpusTest, WithoutRecordingsThereIsNoInput) {
  const TempDir empty;
  EXPECT_THROW(open({empty.path()}), Error);
  EXPECT_THROW(open({empty / "missing"}), Error);
  write(empty / "silent.wav", {std::vector<float>(22050, 0.0f), 22050});
  EXPECT_THROW(open({empty.path()}), Error);
}

TEST_F(CorpusTest, OneThatIsKeptOutAsAWholeSaysSo) {
  const auto message = [&](const fs::path& path, int every) -> std::string {
    try {
      open({path}, {.hold_out_every = every});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::no_input);
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message(data() / "clip0.wav", 20).find("hold_out_every=0"), std::string::npos);
  EXPECT_NE(message(data(), 1).find("hold_out_every=0"), std::string::npos);
  EXPECT_EQ(message(data() / "clip0.wav", 0), "");
  EXPECT_EQ(open({data() / "clip0.wav"}, {.hold_out_every = 0})->training_clips(), 1);
}

TEST_F(CorpusTest, ACropLongerThanEveryRecordingIsTold) {
  fs::create_directories(other("few"));
  fs::copy_file(data() / "clip0.wav", other("few") / "a.wav");  // 0.3 s: 25 frames
  const auto clips = [&] { return find_clips({other("few")}, audio::MelOptions(), 0); };
  const auto open_with = [&](int64_t frames) {
    return Corpus(clips(), {.hold_out_every = 0, .segment_frames = frames}, [](const std::string&) {}).training_clips();
  };
  EXPECT_EQ(open_with(25), 1);
  try {
    open_with(26);
    FAIL() << "26 frames of 25";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::config);
    EXPECT_NE(std::string(error.what()).find("the longest recording has 25"), std::string::npos) << error.what();
  }
}

TEST_F(CorpusTest, ARecordingInTwoFoldersCountsOnce) {
  fs::create_directory_symlink(data(), other("again"));
  EXPECT_EQ(open({data(), other("again"), data() / "clip3.wav"}, {.hold_out_every = 0})->training_clips(), 6);
}

TEST_F(CorpusTest, ComesToTheConfiguredLevel) {
  const auto corpus = open({data()}, {.hold_out_every = 0});
  double energy = 0, count = 0;
  for (int32_t i = 0; i < 6; ++i) {
    const auto sound = corpus->sound(*corpus->slot(i));
    for (const auto s : corpus->at_level(*sound, 0, static_cast<int64_t>(sound->samples.size()))) energy += s * s;
    count += static_cast<double>(sound->samples.size());
  }
  EXPECT_NEAR(std::sqrt(energy / count), corpus->options().level, 1e-4);
}

TEST_F(CorpusTest, SoundBeyondFullScaleIsNotCutOff) {
  auto loud = tone(0.5);
  for (auto& s : loud.samples) s *= 20;
  audio::write_audio(data() / "clip0.wav", loud, audio::Encoding::float32, AtomicFile::Existing::replace);
  const auto corpus = open({data()}, {.level = 0, .hold_out_every = 0});
  const auto sound = corpus->sound(*corpus->slot(0));
  const auto heard = corpus->at_level(*sound, 0, static_cast<int64_t>(loud.samples.size()));
  ASSERT_GT(*std::ranges::max_element(loud.samples), 1.5f);
  for (size_t i = 0; i < heard.size(); ++i) ASSERT_NEAR(heard[i], loud.samples[i], sound->scale / 32768) << i;
}

TEST_F(CorpusTest, SoundThatIsNoneByItsLevelIsRefused) {
  auto integers = tone(0.5);
  for (auto& s : integers.samples) s *= 32768;
  audio::write_audio(data() / "clip0.wav", integers, audio::Encoding::float32, AtomicFile::Existing::replace);
  EXPECT_EQ(open({data()}, {.hold_out_every = 0})->training_clips(), 5);
  ASSERT_EQ(refused_.size(), 1u);
  EXPECT_NE(refused_[0].find("times full scale"), std::string::npos) << refused_[0];
}

TEST_F(CorpusTest, ALinkToAFolderIsNamedAndNotFollowed) {
  fs::create_directories(other("linked"));
  write(other("linked") / "x.wav", tone(0.3));
  fs::create_directory_symlink(other("linked"), data() / "more");
  fs::create_directory_symlink(data(), data() / "circle");
  EXPECT_EQ(open({data()}, {.hold_out_every = 0})->training_clips(), 6);
  ASSERT_EQ(refused_.size(), 2u);
  for (const auto& line : refused_) EXPECT_NE(line.find("is a link to a folder"), std::string::npos) << line;
}

TEST_F(CorpusTest, AShardIsHeardAsItsFolderIs) {
  const auto folder = open({data()}), shard = open({packed("all.tar", 0, 6)});
  EXPECT_EQ(folder->gain(), shard->gain());
  EXPECT_EQ(heard(folder, 1, 0, 20), heard(shard, 1, 0, 20));
}

TEST_F(CorpusTest, FoldersAndShardsMix) {
  const auto shard = packed("some.tar", 0, 3);
  for (const char* name : {"clip0.wav", "clip1.wav", "clip2.wav"}) fs::remove(data() / name);
  EXPECT_EQ(open({data(), shard})->training_clips(), 5);
  fs::rename(shard, data() / "some.tar");
  const auto corpus = open({data()});
  EXPECT_EQ(corpus->training_clips() + corpus->held_out_clips(), 6);
}

TEST_F(CorpusTest, ABatchIsAFunctionOfItsNumberWhateverTheWorkersAndTheWindow) {
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

TEST_F(CorpusTest, ACropsMelIsThatOfTheWholeRecording) {
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

TEST_F(CorpusTest, MelsBesideRecordingsAreTakenWhenAskedFor) {
  const int64_t frames = static_cast<int64_t>(0.3 * 22050) / 256;
  const std::vector<float> ramp(static_cast<size_t>(80 * frames), -2.0f);
  files::write_npy(data() / "clip0.mel.npy", std::array<int64_t, 2>{80, frames}, ramp, AtomicFile::Existing::refuse);
  files::write_npy(data() / "clip1.npy", std::array<int64_t, 2>{40, 5}, std::span(ramp).first(200),
                   AtomicFile::Existing::refuse);
  const auto plain = open({data()}, {.hold_out_every = 0});
  EXPECT_EQ(plain->mels_beside(), 2);
  EXPECT_EQ(plain->training_clips(), 6);

  const auto with = open({data()}, {.hold_out_every = 0, .mels = true});
  EXPECT_EQ(with->training_clips(), 5);
  ASSERT_EQ(refused_.size(), 1u);
  EXPECT_NE(refused_[0].find("clip1.wav: its mel must be [80, "), std::string::npos) << refused_[0];
  audio::MelExtractor extract(with->options().mel);
  const auto mel = with->mel_frames(*with->sound(*with->slot(0)), 3, 2, extract);
  for (const float value : mel) EXPECT_FLOAT_EQ(value, -2.0f + static_cast<float>(std::log(with->gain())));
}

TEST_F(CorpusTest, WhatDoesNotFitIsCheckedWhenItIsFirstHeard) {
  for (int i = 6; i < 40; ++i) write(data() / ("more" + std::to_string(i) + ".wav"), tone(1, i));
  write(data() / "silent.wav", {std::vector<float>(22050, 0.0f), 22050});
  const auto corpus = open({data()}, {.level = 0, .hold_out_every = 0, .shuffle_mb = 0});
  EXPECT_TRUE(refused_.empty());
  heard(corpus, 2, 0, corpus->order().epoch_entries() / 3 + 1);
  ASSERT_EQ(refused_.size(), 1u);
  EXPECT_NE(refused_[0].find("silent.wav: is silent"), std::string::npos);
  heard(corpus, 2, 0, corpus->order().epoch_entries() / 3 + 1);
  EXPECT_EQ(refused_.size(), 1u);
}

TEST_F(CorpusTest, ADamagedShardIsRefusedByNameAndTheRestIsUsed) {
  const auto whole = packed("whole.tar", 0, 3), cut = packed("cut.tar", 3, 6);
  fs::resize_file(cut, 700);
  const auto corpus = open({whole, cut}, {.hold_out_every = 0});
  EXPECT_EQ(corpus->training_clips(), 3);
  ASSERT_EQ(refused_.size(), 1u);
  EXPECT_NE(refused_[0].find("cut.tar"), std::string::npos);
}

TEST_F(CorpusTest, LengthsAreThoseAtTheRecipesRate) {
  write(other("slow.wav"), tone(0.9, 7, 16000));
  write(other("short.wav"), tone(0.04, 7, 16000));  // 640 samples, 882 of the recipe's
  const auto clips = find_clips({other("slow.wav"), other("short.wav")}, {}, 0);
  ASSERT_EQ(clips.places.size(), 1u);
  EXPECT_EQ(clips.places[0].samples, std::llround(0.9 * 22050));
  ASSERT_EQ(clips.refused.size(), 1u);
  EXPECT_NE(clips.refused[0].find("only 882 samples"), std::string::npos) << clips.refused[0];
}

TEST_F(CorpusTest, AMelMayHaveTwoFramesMoreThanItsRecordingAndNoThird) {
  const int64_t needed = static_cast<int64_t>(0.3 * 22050) / 256;
  for (const int64_t more : {-1, 0, 2, 3}) {
    const std::array<int64_t, 2> shape{80, needed + more};
    files::write_npy(data() / "clip0.mel.npy", shape, std::vector<float>(static_cast<size_t>(80 * shape[1]), -2.0f),
                     AtomicFile::Existing::replace);
    const bool fits = more >= 0 && more <= 2;
    EXPECT_EQ(open({data()}, {.hold_out_every = 0, .mels = true})->training_clips(), fits ? 6 : 5) << more;
  }
}

TEST_F(CorpusTest, RecordingsOfOtherLengthsAreOtherData) {
  const auto before = open({data()})->digest();
  EXPECT_EQ(open({data()})->digest(), before);
  audio::write_audio(data() / "clip3.wav", tone(0.65, 3), audio::Encoding::pcm16, AtomicFile::Existing::replace);
  EXPECT_NE(open({data()})->digest(), before);
}

TEST_F(CorpusTest, CropsReachTheEndOfARecording) {
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

TEST_F(CorpusTest, DequantisationIsAsWideAsAStepOfTheRecordings) {
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

TEST_F(CorpusTest, WhereNothingCanBeUsedWhoWaitsForABatchIsTold) {
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
