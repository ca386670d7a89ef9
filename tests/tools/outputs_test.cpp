// What leaves the program: sound and mels in every format, to files and to stdout.

#include <sys/resource.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "audio/sound_file.h"
#include "engine/files/npy.h"
#include "tests/tools/cli_fixture.h"

namespace melflow {
namespace {

using melflow::testing::text_of;
using nlohmann::json;

using Outputs = melflow::testing::CliFixture;

TEST_F(Outputs, SynthSpeaksAMelInEveryFormat) {
  const auto mel = short_mel();
  for (const std::string kind : {"wav", "flac", "raw", "npy"}) {
    const auto result = run({"synth", mel, "-o", path("x." + kind)});
    EXPECT_EQ(result.code, 0) << kind << result.err;
    EXPECT_NE(result.err.find("times real time"), std::string::npos) << result.err;
  }
  const auto exact = files::read_npy(path("x.npy"));
  EXPECT_EQ(exact.shape, std::vector<int64_t>{24 * 256});
  const auto wav = audio::read_audio(path("x.wav"));
  ASSERT_EQ(wav.samples.size(), exact.values.size());
  EXPECT_EQ(wav.sample_rate, 22050);
  double energy = 0;
  for (size_t i = 0; i < exact.values.size(); ++i) {
    EXPECT_NEAR(wav.samples[i], std::clamp(exact.values[i], -1.0f, 1.0f), 1.0 / 32768);
    energy += exact.values[i] * exact.values[i];
  }
  EXPECT_GT(energy, 0);
  EXPECT_EQ(audio::read_audio(path("x.flac")).samples, wav.samples);
}

TEST_F(Outputs, EndingsInCapitalsAreEndings) {
  ASSERT_EQ(run({"mel", clip_, "-o", path("M.NPY")}).code, 0);
  EXPECT_EQ(text_of(path("M.NPY")).substr(1, 5), "NUMPY");
  ASSERT_EQ(run({"mel", clip_, "-o", path("M.PNG")}).code, 0);
  EXPECT_EQ(text_of(path("M.PNG")).substr(1, 3), "PNG");
  ASSERT_EQ(run({"synth", short_mel(), "-o", path("S.WAV")}).code, 0);
  ASSERT_EQ(run({"synth", short_mel(), "-o", path("s.wav")}).code, 0);
  EXPECT_EQ(text_of(path("S.WAV")), text_of(path("s.wav")));
  EXPECT_EQ(run({"synth", short_mel(), "-o", path(".wav")}).code, 64);  // a hidden file without an ending
}

TEST_F(Outputs, LoudSoundIsClippedWithAWord) {
  auto mel = files::read_npy(short_mel());
  for (float& band : mel.values) band += 3;
  files::write_npy(path("loud.npy"), mel.shape, mel.values, AtomicFile::Existing::refuse);
  const std::vector<std::string> loud{"synth", path("loud.npy")};
  const auto speak = [&](const std::vector<std::string>& more) {
    auto words = loud;
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  };
  const auto clipped = speak({"-o", path("s.wav"), "--json"});
  ASSERT_EQ(clipped.code, 0) << clipped.err;
  ASSERT_EQ(speak({"-o", path("s.npy")}).code, 0);
  const auto exact = files::read_npy(path("s.npy")).values;
  const auto beyond = std::count_if(exact.begin(), exact.end(), [](float s) { return std::abs(s) > 1; });
  ASSERT_GT(beyond, 0);
  EXPECT_EQ(json::parse(clipped.out)["clipped_samples"], beyond);
  EXPECT_NE(clipped.err.find(std::to_string(beyond) + " samples are louder than full scale"), std::string::npos)
      << clipped.err;
  const auto kept = speak({"-o", path("f.wav"), "--encoding", "float32", "--json"});
  EXPECT_EQ(json::parse(kept.out)["clipped_samples"], 0);
  EXPECT_EQ(kept.err.find("full scale"), std::string::npos) << kept.err;
}

/// A copy is as long as its recording, whose number of bytes may be odd; RIFF's chunks are even.
TEST_F(Outputs, AnOddNumberOfBytesIsPaddedInWav) {
  audio::Waveform odd = audio::read_audio(clip_);
  odd.samples.resize(8001);
  audio::write_audio(path("odd.wav"), odd, audio::Encoding::pcm16, AtomicFile::Existing::refuse);
  ASSERT_EQ(run({"synth", path("odd.wav"), "-o", path("copy.wav"), "--encoding", "pcm24"}).code, 0);
  EXPECT_EQ(std::filesystem::file_size(path("copy.wav")), 44u + 3 * 8001 + 1);
  EXPECT_EQ(audio::audio_info(path("copy.wav")).frames, 8001);
}

TEST_F(Outputs, PcmOnStdinIsConvertedToTheRecipesRate) {
  const audio::Waveform sound = audio::read_audio(clip_, {.sample_rate = 44100});
  audio::write_audio(path("fast.wav"), sound, audio::Encoding::float32, AtomicFile::Existing::refuse);
  ASSERT_EQ(run({"mel", path("fast.wav"), "-o", path("file.npy")}).code, 0);
  ASSERT_EQ(run({"mel", "-", "-o", path("piped.npy"), "--rate", "44100", "--format", "float32"},
                text_of(path("fast.wav")).substr(44))
                .code,
            0);
  EXPECT_EQ(text_of(path("piped.npy")), text_of(path("file.npy")));
}

TEST_F(Outputs, StdinAndStdoutAreFilesToo) {
  const auto mel = short_mel();
  ASSERT_EQ(run({"synth", mel, "-o", path("a.wav")}).code, 0);
  const auto piped = run({"synth", "-", "-o", "-"}, text_of(mel));
  ASSERT_EQ(piped.code, 0) << piped.err;
  EXPECT_EQ(piped.out, text_of(path("a.wav")));
  const auto raw = run({"synth", "-", "-o", "-", "--raw"}, text_of(mel));
  EXPECT_EQ(raw.out, piped.out.substr(44));
  const auto told = run({"synth", "-", "-o", "-", "--json"}, text_of(mel));
  EXPECT_EQ(told.out, piped.out);
  EXPECT_NE(told.err.find("{\"clipped_samples\""), std::string::npos) << told.err;
  const auto pcm = text_of(path("a.wav")).substr(44);
  EXPECT_EQ(run({"mel", "-", "-o", path("m.npy"), "--rate", "22050", "--format", "pcm16"}, pcm).code, 0);
  EXPECT_EQ(run({"mel", "-", "-o", path("m2.npy")}, pcm).code, 64);
}

TEST_F(Outputs, AReaderThatLeavesEarlyIsNoErrorOfAnyVerb) {
  const auto command = std::string("bash -c 'set -o pipefail; ") + MELFLOW_PROGRAM + " mel " + clip_ +
                       " -o - | head -c 10 > " + path("ten") + "'";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST_F(Outputs, AReaderThatLeavesEarlyIsNoError) {
  const std::string command = std::string(MELFLOW_PROGRAM) + " synth " + short_mel() + " -o - --raw 2>" + path("err") +
                              " | head -c 100 | wc -c; exit ${PIPESTATUS[0]}";
  const auto status = std::system(("bash -c '" + command + "' >" + path("n")).c_str());
  EXPECT_EQ(WEXITSTATUS(status), 0) << text_of(path("err"));
  EXPECT_EQ(std::stoi(text_of(path("n"))), 100);
}

TEST_F(Outputs, ARecordingIsReadPieceByPiece) {
  // Forty minutes of silence at 48 kHz, which no disk holds: 230 MB, in float32 460, its mel 66.
  constexpr int64_t kSamples = int64_t{40} * 60 * 48000;
  const auto header = audio::wav_header(48000, audio::Encoding::pcm16, kSamples);
  put("long.wav", std::string(reinterpret_cast<const char*>(header.data()), header.size()));
  std::filesystem::resize_file(path("long.wav"), header.size() + 2 * kSamples);
  // The child's room, libraries and all; what it has at most (ru_maxrss) begins with this process' own.
  rlimit before{};
  getrlimit(RLIMIT_AS, &before);
  const rlimit little{rlim_t{420} << 20, before.rlim_max};
  setrlimit(RLIMIT_AS, &little);
  const auto child = program_.start({"mel", path("long.wav"), "-o", path("long.npy"), "--json"});
  setrlimit(RLIMIT_AS, &before);
  ASSERT_EQ(program_.wait(child).code, 0) << text_of(path("stderr"));
  const auto out = json::parse(text_of(path("stdout")));
  EXPECT_EQ(out["seconds"], 2400.0);
  EXPECT_EQ(out["frames"], int64_t{2400} * 22050 / 256 + 1);
}

}  // namespace
}  // namespace melflow
