// Recordings from folders and archives, as a training hears them.
#include "engine/data/corpus.h"

#include <algorithm>
#include <array>
#include <fstream>

#include "base/error.h"
#include "engine/files/npy.h"
#include "tests/data/corpus_fixture.h"
#include "tests/support/refusal.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;
using namespace melflow::testing;

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
  const auto open_without = [&](const fs::path& path, int every) { open({path}, {.hold_out_every = every}); };
  expect_refused([&] { open_without(data() / "clip0.wav", 20); }, Exit::no_input, "hold_out_every=0");
  expect_refused([&] { open_without(data(), 1); }, Exit::no_input, "hold_out_every=0");
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
  expect_refused([&] { open_with(26); }, Exit::config, "the longest recording has 25");
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

}  // namespace
}  // namespace melflow::engine
