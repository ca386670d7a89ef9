// libmelflow, as a program that is not ours uses it.
#include "capi/melflow.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "audio/mel.h"
#include "audio/resample.h"
#include "engine/files/npy.h"
#include "engine/synth/synthesizer.h"
#include "tests/support/shared.h"

namespace melflow {
namespace {

using testing::in_tree;

const std::string kVoice = in_tree("data/voices/kathleen.safetensors").string();

/// The first frames of a real mel, which begins again where it ends, frame after frame.
std::vector<float> frames_of_speech(int count) {
  const auto mel = files::read_npy(in_tree("data/golden/LJ001-0002.nvidia_22050_1024_256_80.npy"));
  std::vector<float> frames;
  for (int64_t f = 0; f < count; ++f) {
    for (int64_t m = 0; m < mel.shape[0]; ++m) {
      frames.push_back(mel.values[static_cast<size_t>(m * mel.shape[1] + f % mel.shape[1])]);
    }
  }
  return frames;
}

class CApi : public ::testing::Test {
 protected:
  void open(const melflow_options* options = nullptr) {
    ASSERT_EQ(melflow_voice_open(kVoice.c_str(), options, &voice_), MELFLOW_OK) << melflow_error();
  }
  void TearDown() override { melflow_voice_close(voice_); }

  /// What a stream says of these frames, given so many at a time.
  std::vector<float> spoken(const std::vector<float>& frames, size_t at_once, uint64_t seed = 0) {
    melflow_stream* stream = nullptr;
    EXPECT_EQ(melflow_stream_open(voice_, seed, &stream), MELFLOW_OK);
    std::vector<float> out;
    float piece[1000];
    const auto take = [&] {
      for (size_t n = 0; (n = melflow_stream_take(stream, piece, 1000)) > 0;) out.insert(out.end(), piece, piece + n);
    };
    for (size_t at = 0; at < frames.size() / 80; at += at_once) {
      EXPECT_EQ(melflow_stream_add(stream, frames.data() + at * 80, std::min(at_once, frames.size() / 80 - at)),
                MELFLOW_OK);
      take();
    }
    EXPECT_EQ(melflow_stream_finish(stream), MELFLOW_OK);
    take();
    melflow_stream_close(stream);
    return out;
  }

  melflow_voice* voice_ = nullptr;
};

TEST_F(CApi, SaysWhatTheEngineSaysHoweverTheMelIsCut) {
  const auto frames =
      frames_of_speech(400);  // a second thread has something to do from the 97th on, and with many at once
  melflow_options options = MELFLOW_DEFAULTS;
  for (const int threads : {1, 2}) {
    options.threads = threads;
    open(&options);
    const engine::Synthesizer synthesizer(engine::VoiceFile(kVoice), {.threads = 1});
    std::vector<float> expected;
    const auto stream = synthesizer.open_stream(engine::Noise(5));
    stream->add(frames, expected);
    stream->finish(expected);
    ASSERT_EQ(expected.size(), 400u * 256);
    for (const size_t at_once : {1, 70, 400}) EXPECT_EQ(spoken(frames, at_once, 5), expected) << at_once;
    EXPECT_NE(spoken(frames, 400, 6), expected);
    melflow_voice_close(std::exchange(voice_, nullptr));
  }
}

TEST_F(CApi, TellsWhatAVoiceIs) {
  open();
  EXPECT_EQ(melflow_voice_sample_rate(voice_), 22050);
  EXPECT_EQ(melflow_voice_hop_length(voice_), 256);
  EXPECT_EQ(melflow_voice_n_mels(voice_), 80);
  const auto facts = nlohmann::json::parse(melflow_voice_json(voice_));
  EXPECT_EQ(facts.at("mel").at("f_max"), 8000);
  EXPECT_EQ(facts.at("model").at("system"), "block_flow");
  EXPECT_FALSE(facts.at("card").at("licence").get<std::string>().empty());
}

/// So many frames and not one less are answered by sound.
TEST_F(CApi, SpeaksWhenItSaid) {
  melflow_options usual = MELFLOW_DEFAULTS, bare = usual, clean = usual, hasty = usual;
  bare.refine = 0;
  clean.denoise = 0.1;
  hasty.latency = 0.05;
  for (const auto* options : {&usual, &bare, &clean, &hasty}) {
    open(options);
    const auto needed = melflow_voice_first_frames(voice_);
    const auto frames = frames_of_speech(40);
    melflow_stream* stream = nullptr;
    ASSERT_EQ(melflow_stream_open(voice_, 0, &stream), MELFLOW_OK);
    int64_t given = 0;
    for (; melflow_stream_ready(stream) == 0 && given < 40; ++given) {
      ASSERT_EQ(melflow_stream_add(stream, frames.data() + given * 80, 1), MELFLOW_OK);
    }
    EXPECT_EQ(given, needed);
    melflow_stream_close(stream);
    melflow_voice_close(std::exchange(voice_, nullptr));
  }
}

TEST_F(CApi, OptionsChangeWhatIsSaid) {
  const auto frames = frames_of_speech(20);
  melflow_options options = MELFLOW_DEFAULTS;
  open(&options);
  const auto usual = spoken(frames, 20);
  melflow_voice_close(std::exchange(voice_, nullptr));
  options.refine = 0;
  open(&options);
  EXPECT_NE(spoken(frames, 20), usual);
  melflow_voice_close(std::exchange(voice_, nullptr));
  // Of a caller whose struct ends behind sigma, refine is as it was.
  options.size = offsetof(melflow_options, draws);
  open(&options);
  EXPECT_EQ(spoken(frames, 20), usual);
}

TEST_F(CApi, AStreamOutlivesItsVoice) {
  open();
  const auto frames = frames_of_speech(20);
  const auto expected = spoken(frames, 20);
  melflow_stream* stream = nullptr;
  ASSERT_EQ(melflow_stream_open(voice_, 0, &stream), MELFLOW_OK);
  melflow_voice_close(std::exchange(voice_, nullptr));
  ASSERT_EQ(melflow_stream_add(stream, frames.data(), 20), MELFLOW_OK);
  ASSERT_EQ(melflow_stream_finish(stream), MELFLOW_OK);
  std::vector<float> said(melflow_stream_ready(stream));
  melflow_stream_take(stream, said.data(), said.size());
  melflow_stream_close(stream);
  EXPECT_EQ(said, expected);
}

TEST_F(CApi, ThreadsShareAVoice) {
  melflow_options options = MELFLOW_DEFAULTS;
  options.threads = 2;
  open(&options);
  const auto frames = frames_of_speech(170);  // of which the last go through the voice's second thread
  const std::vector<float> expected[] = {spoken(frames, 170, 0), spoken(frames, 170, 1)};
  std::vector<float> said[3];
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < 3; ++i) threads.emplace_back([&, i] { said[i] = spoken(frames, 170, i % 2); });
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(said[i], expected[i % 2]) << i;
}

TEST_F(CApi, MakesTheMelThatTheVoiceTakes) {
  open();
  std::vector<float> sound;
  for (int t = 0; t < 12000; ++t) sound.push_back(static_cast<float>(0.3 * std::sin(0.03 * t)));
  for (const int rate : {22050, 48000}) {
    const auto expected = audio::MelExtractor({})({audio::resample(sound, rate, 22050), 22050});
    std::vector<float> in_order, frames(melflow_mel_frames(voice_, sound.size(), rate) * 80);
    audio::append_frames(expected, 0, expected.frames, in_order);
    ASSERT_EQ(frames.size(), in_order.size());
    ASSERT_EQ(melflow_mel(voice_, sound.data(), sound.size(), rate, frames.data()), MELFLOW_OK) << melflow_error();
    EXPECT_EQ(frames, in_order) << rate;
  }
  EXPECT_EQ(melflow_mel_frames(voice_, 10, 22050), 0u);
  float frame[80];
  EXPECT_EQ(melflow_mel(voice_, sound.data(), 10, 22050, frame), MELFLOW_BAD_DATA);
}

TEST_F(CApi, FailuresAreCodesAndALine) {
  const auto told = [](melflow_status got, melflow_status wanted, const std::string& word) {
    EXPECT_EQ(got, wanted) << word;
    const std::string line = melflow_error();
    EXPECT_NE(line.find(word), std::string::npos) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  };
  told(melflow_voice_open("no/such.safetensors", nullptr, &voice_), MELFLOW_NO_INPUT, "no/such.safetensors");
  EXPECT_EQ(voice_, nullptr);
  told(melflow_voice_open(in_tree("README.md").c_str(), nullptr, &voice_), MELFLOW_BAD_DATA, "README.md");
  told(melflow_voice_open(nullptr, nullptr, &voice_), MELFLOW_USAGE, "path");
  melflow_options options = MELFLOW_DEFAULTS;
  options.size = 0;
  told(melflow_voice_open(kVoice.c_str(), &options, &voice_), MELFLOW_USAGE, "MELFLOW_DEFAULTS");
  options = MELFLOW_DEFAULTS;
  options.precision = 7;
  told(melflow_voice_open(kVoice.c_str(), &options, &voice_), MELFLOW_USAGE, "precision");
  options = MELFLOW_DEFAULTS;
  options.latency = std::numeric_limits<double>::quiet_NaN();
  told(melflow_voice_open(kVoice.c_str(), &options, &voice_), MELFLOW_USAGE, "latency");
  open();
  EXPECT_STREQ(melflow_error(), "");
  melflow_stream* stream = nullptr;
  ASSERT_EQ(melflow_stream_open(voice_, 0, &stream), MELFLOW_OK);
  auto frames = frames_of_speech(8);
  frames[3 * 80 + 7] = std::numeric_limits<float>::infinity();
  told(melflow_stream_add(stream, frames.data(), 8), MELFLOW_BAD_DATA, "frame 3, band 7");
  ASSERT_EQ(melflow_stream_add(stream, frames.data(), 3), MELFLOW_OK);  // nothing of those was taken
  ASSERT_EQ(melflow_stream_finish(stream), MELFLOW_OK);
  EXPECT_EQ(melflow_stream_ready(stream), 3u * 256);
  told(melflow_stream_add(stream, frames.data(), 1), MELFLOW_USAGE, "finished");
  told(melflow_stream_finish(stream), MELFLOW_USAGE, "finished");
  melflow_stream_close(stream);
  melflow_stream_close(nullptr);
}

TEST_F(CApi, NothingIsNothing) {
  float sample = 7;
  EXPECT_EQ(melflow_stream_ready(nullptr), 0u);
  EXPECT_EQ(melflow_stream_take(nullptr, &sample, 1), 0u);
  EXPECT_EQ(sample, 7);
  EXPECT_EQ(melflow_stream_add(nullptr, &sample, 1), MELFLOW_USAGE);
  EXPECT_EQ(melflow_voice_n_mels(nullptr), 0);
  EXPECT_EQ(melflow_voice_first_frames(nullptr), 0);
  EXPECT_STREQ(melflow_voice_json(nullptr), "");
  EXPECT_EQ(melflow_mel_frames(nullptr, 22050, 22050), 0u);
}

/// The example, which a C compiler made of C99.
TEST_F(CApi, TheExampleSpeaks) {
  const testing::TempDir folder;
  const auto frames = frames_of_speech(12);
  const auto mel = folder / "mel.f32", sound = folder / "sound.f32";
  std::ofstream(mel, std::ios::binary)
      .write(reinterpret_cast<const char*>(frames.data()), static_cast<std::streamsize>(frames.size() * sizeof(float)));
  const auto command = std::string(MELFLOW_C_EXAMPLE) + " " + kVoice + " <" + mel.string() + " >" + sound.string();
  ASSERT_EQ(std::system(command.c_str()), 0);
  open();
  const auto expected = spoken(frames, 12);
  std::vector<float> said(expected.size() + 1);
  std::ifstream in(sound, std::ios::binary);
  in.read(reinterpret_cast<char*>(said.data()), static_cast<std::streamsize>(said.size() * sizeof(float)));
  said.resize(static_cast<size_t>(in.gcount()) / sizeof(float));
  EXPECT_EQ(said, expected);
}

}  // namespace
}  // namespace melflow
