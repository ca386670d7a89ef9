// What is said of streaming, on models that are built without LibTorch: cuts, beginnings and haste.

#include <random>

#include <gtest/gtest.h>

#include "audio/refine.h"
#include "audio/sound_file.h"
#include "base/error.h"
#include "tests/support/refusal.h"
#include "tests/synth/random_voice.h"

namespace melflow::engine {
namespace {

using melflow::testing::frames_of;
using melflow::testing::random_mel;
using melflow::testing::RandomVoice;

struct System {
  std::string name;
  ModelOptions options;
  int common, longest;  ///< frames of most mels, and of some
  int64_t draws = 1, refine = 0;
};

class Certificate : public ::testing::TestWithParam<System> {
 protected:
  RandomVoice voice_{GetParam().options};
  int bands() const { return voice_.voice.mel.n_mels; }
  int64_t hop() const { return voice_.voice.mel.hop_length; }
  Synthesizer synthesizer(SynthOptions options = {}) const {
    options.threads = 1;
    options.draws = GetParam().draws;
    options.refine = GetParam().refine;
    return voice_.synthesizer(options);
  }
};

/// Sound of frames that come in pieces.
std::vector<float> in_pieces(Stream& stream, std::span<const float> frames, size_t bands,
                             const std::function<size_t()>& next) {
  std::vector<float> out;
  for (size_t at = 0; at < frames.size();) {
    const size_t count = std::min(frames.size() - at, next() * bands);
    stream.add(frames.subspan(at, count), out);
    at += count;
  }
  stream.finish(out);
  return out;
}

TEST_P(Certificate, AThousandWaysOfCuttingGiveTheSamePcm) {
  const auto speaker = synthesizer();
  std::mt19937 random(1);
  std::map<int, std::vector<std::byte>> offline;
  const auto b = static_cast<size_t>(bands());
  const auto all = frames_of(random_mel(bands(), GetParam().longest));
  const auto pcm = [&](int frames, const std::function<size_t()>& next) {
    const auto stream = speaker.open_stream(Noise(8));
    const auto sound = in_pieces(*stream, std::span(all).first(static_cast<size_t>(frames) * b), b, next);
    EXPECT_EQ(sound.size(), static_cast<size_t>(frames * hop()));
    return audio::encode_pcm(sound, audio::Encoding::float32);
  };
  for (int trial = 0; trial < 1000; ++trial) {
    const int frames = trial % 100 == 99 ? GetParam().longest
                       : trial % 4 < 3   ? trial % 4 + 1
                                         : std::uniform_int_distribution(4, GetParam().common)(random);
    auto& expected = offline[frames];
    if (expected.empty()) expected = pcm(frames, [] { return 1000; });
    const auto most =
        std::uniform_int_distribution<size_t>(1, 1000)(random) >> std::uniform_int_distribution(0, 9)(random);
    const auto next = [&] { return std::uniform_int_distribution<size_t>(1, std::max<size_t>(1, most))(random); };
    ASSERT_EQ(pcm(frames, next), expected) << frames << " frames in pieces of up to " << most;
  }
}

TEST_P(Certificate, ABeginningInTheMiddleGivesTheSameSamples) {
  const auto mel = random_mel(bands(), 60);
  for (const float denoise : {0.0f, 0.1f}) {
    const auto speaker = synthesizer({.denoise = denoise});
    const auto whole = speaker(mel, Noise(3)).samples;
    for (const int64_t start : {int64_t{1}, hop(), 17 * hop() + 5, 40 * hop() - 1, 59 * hop()}) {
      std::vector<float> part;
      speaker.run(
          mel, Noise(3), [&](auto piece) { part.insert(part.end(), piece.begin(), piece.end()); }, start);
      EXPECT_EQ(part, std::vector<float>(whole.begin() + start, whole.end())) << "from " << start << ", " << denoise;
    }
  }
}

TEST_P(Certificate, TheFirstSampleLeavesWhenItIsSaidTo) {
  const auto speaker = synthesizer();
  const auto stream = speaker.open_stream(Noise(1));
  const auto frames = frames_of(random_mel(bands(), 60));
  const auto said = speaker.first_frames();
  std::vector<float> out;
  for (int64_t t = 0; t < said; ++t) {
    EXPECT_TRUE(out.empty()) << t;
    stream->add(std::span(frames).subspan(static_cast<size_t>(t * bands()), static_cast<size_t>(bands())), out);
  }
  EXPECT_FALSE(out.empty());
  EXPECT_LE(reach(GetParam().options).lookahead_frames, said);
}

models::WaveGlowOptions at_frame_rate() {
  auto options = melflow::testing::tiny_waveglow();
  options.conditioning = models::Conditioning::frame_rate;
  options.context_channels = 5;
  return options;
}

INSTANTIATE_TEST_SUITE_P(
    All, Certificate,
    ::testing::Values(System{"waveglow", melflow::testing::tiny_waveglow(), 200, 1200},
                      System{"frame_rate", at_frame_rate(), 100, 1200},
                      System{"block_flow", melflow::testing::tiny_block_flow(), 12, 150},
                      System{"best_of_three", melflow::testing::tiny_block_flow(), 12, 60, 3},
                      System{"refined_waveglow", melflow::testing::tiny_waveglow(), 100, 600, 1, 2},
                      System{"refined_block_flow", melflow::testing::tiny_block_flow(), 12, 60, 1, 3}),
    [](const auto& of) { return of.param.name; });

TEST(BestOfSeveralDraws, IsWhatNotedNoiseGivesAgain) {
  const RandomVoice voice(melflow::testing::tiny_block_flow());
  const auto mel = random_mel(voice.voice.mel.n_mels, 30);
  const auto speaker = voice.synthesizer({.draws = 4, .threads = 1});
  const auto noise = Noise(9).noting();
  const auto samples = speaker(mel, noise).samples;
  EXPECT_EQ(speaker(mel, Noise(speaker.noise_for(mel, noise), "z.npy")).samples, samples);
  EXPECT_NE(voice.synthesizer({.draws = 1, .threads = 1})(mel, Noise(9)).samples, samples);
  EXPECT_THROW(RandomVoice(melflow::testing::tiny_waveglow()).synthesizer({.draws = 4, .threads = 1}), Error);
}

/// A WaveGlow that sees 30 frames ahead.
models::WaveGlowOptions far_sighted() {
  auto options = melflow::testing::tiny_waveglow();
  options.wavenet_layers = 4;
  options.n_flows = 4;
  return options;
}

/// How the first two thirds of a second go, in frames, and what the stream says of its error.
TEST(HastyStream, IsAsFastAsItWasAskedToBeAndSaysHowFarOffItWas) {
  const RandomVoice voice(far_sighted());
  const int bands = voice.voice.mel.n_mels, hop = voice.voice.mel.hop_length;
  const auto needed = first_sample_frames(voice.options);
  const auto mel = random_mel(bands, 90);
  const auto frames = frames_of(mel);
  const double frame = static_cast<double>(hop) / voice.voice.mel.sample_rate;
  const auto exact = voice.synthesizer({.threads = 1})(mel, Noise(2)).samples;
  double last = 0;
  for (const int64_t limit : {int64_t{1}, needed / 8, needed / 4, needed / 2}) {
    const auto stream =
        voice.synthesizer({.threads = 1, .latency = static_cast<double>(limit) * frame}).open_stream(Noise(2));
    std::vector<float> out;
    for (int64_t t = 0; t < mel.frames; ++t) {
      stream->add(std::span(frames).subspan(static_cast<size_t>(t * bands), static_cast<size_t>(bands)), out);
      EXPECT_GE(static_cast<int64_t>(out.size()), (t + 1 - limit) * hop) << limit;
    }
    stream->finish(out);
    ASSERT_EQ(out.size(), exact.size());
    double signal = 0, error = 0;
    for (size_t i = 0; i < out.size(); ++i) {
      signal += std::pow(exact[i], 2);
      error += std::pow(static_cast<double>(out[i]) - exact[i], 2);
    }
    const double snr = 10 * std::log10(signal / error);
    EXPECT_NEAR(*stream->snr_db(), snr, 1e-6);
    EXPECT_GT(snr, last) << limit;
    last = snr;
  }
  // Enough time: nothing to guess.
  const auto patient = voice.synthesizer({.threads = 1, .latency = static_cast<double>(needed) * frame});
  EXPECT_EQ(patient(mel, Noise(2)).samples, exact);
  EXPECT_FALSE(patient.open_stream(Noise(2))->snr_db());
}

TEST(HastyStream, CutsChangeNothingEither) {
  const RandomVoice voice(far_sighted());
  const auto bands = static_cast<size_t>(voice.voice.mel.n_mels);
  const auto frames = frames_of(random_mel(voice.voice.mel.n_mels, 50));
  const auto speaker = voice.synthesizer({.threads = 1, .latency = 0.006});
  const auto once = in_pieces(*speaker.open_stream(Noise(2)), frames, bands, [] { return 1000; });
  EXPECT_EQ(in_pieces(*speaker.open_stream(Noise(2)), frames, bands, [] { return 1; }), once);
  size_t n = 0;
  EXPECT_EQ(in_pieces(*speaker.open_stream(Noise(2)), frames, bands, [&] { return ++n; }), once);
}

TEST(HastyStream, AVoiceThatFeedsOnItsPastHurriesToo) {
  const RandomVoice voice(melflow::testing::tiny_block_flow());
  const auto bands = static_cast<size_t>(voice.voice.mel.n_mels);
  const double frame = 64.0 / voice.voice.mel.sample_rate;
  EXPECT_THROW(voice.synthesizer({.latency = 0.9 * frame}).open_stream(Noise(1)), Error);
  EXPECT_FALSE(voice.synthesizer({.latency = 6 * frame}).open_stream(Noise(1))->snr_db());
  const auto frames = frames_of(random_mel(voice.voice.mel.n_mels, 40));
  for (int64_t limit = 1; limit < 6; ++limit) {
    const auto speaker = voice.synthesizer({.threads = 1, .latency = (static_cast<double>(limit) + 0.1) * frame});
    const auto stream = speaker.open_stream(Noise(2));
    std::vector<float> out;
    for (size_t t = 0; t < 40; ++t) {
      stream->add(std::span(frames).subspan(t * bands, bands), out);
      EXPECT_EQ(static_cast<int64_t>(out.size()), std::max<int64_t>(0, static_cast<int64_t>(t) + 2 - limit) * 64);
    }
    stream->finish(out);
    EXPECT_EQ(out.size(), 40u * 64u);
    EXPECT_TRUE(std::isfinite(*stream->snr_db())) << limit;
    EXPECT_EQ(in_pieces(*speaker.open_stream(Noise(2)), frames, bands, [] { return 7; }), out);
  }
  // A mel that does not change is guessed right.
  std::vector<float> steady;
  for (int t = 0; t < 40; ++t)
    steady.insert(steady.end(), frames.begin(), frames.begin() + static_cast<ptrdiff_t>(bands));
  const auto hurried = voice.synthesizer({.threads = 1, .latency = 1.1 * frame}).open_stream(Noise(2));
  const auto patient = voice.synthesizer({.threads = 1}).open_stream(Noise(2));
  EXPECT_EQ(in_pieces(*hurried, steady, bands, [] { return 3; }), in_pieces(*patient, steady, bands, [] { return 3; }));
  EXPECT_TRUE(std::isinf(*hurried->snr_db()));
}

TEST(Refining, InASpareThreadChangesNotABit) {
  RandomVoice voice(melflow::testing::tiny_block_flow());
  const auto mel = random_mel(voice.voice.mel.n_mels, 500);  // calls of some pieces, the last not whole
  const auto alone = voice.synthesizer({.refine = 2, .threads = 1})(mel, Noise(5)).samples;
  const auto bands = static_cast<size_t>(mel.n_mels);
  const auto frames = frames_of(mel);
  const auto speaker = voice.synthesizer({.refine = 2, .threads = 2});
  std::mt19937 random(3);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(speaker(mel, Noise(5)).samples, alone);
    const auto next = [&] { return std::uniform_int_distribution<size_t>(1, 100)(random); };
    EXPECT_EQ(in_pieces(*speaker.open_stream(Noise(5)), frames, bands, next), alone);
  }
}

TEST(Refining, WantsFramesOfAPowerOfTwo) {
  RandomVoice voice(melflow::testing::tiny_block_flow());
  voice.voice.mel.n_fft = voice.voice.mel.win_length = 192;  // three hops
  EXPECT_NO_THROW(voice.synthesizer({.threads = 1}));
  testing::expect_refused([&] { voice.synthesizer({.refine = 1, .threads = 1}); }, Exit::usage,
                          "random: ", "--refine 0");
}

/// Time for refining with less delay, then for none of it, then a guessed mel.
TEST(HastyStream, RefiningWaitsLessFirst) {
  const RandomVoice voice(melflow::testing::tiny_block_flow());
  const auto bands = static_cast<size_t>(voice.voice.mel.n_mels);
  const double frame = 64.0 / voice.voice.mel.sample_rate;
  const auto frames = frames_of(random_mel(voice.voice.mel.n_mels, 40));
  const auto needed = first_sample_frames(voice.options);
  EXPECT_EQ(voice.synthesizer({.threads = 1}).first_frames(),
            needed + voice.synthesizer({.threads = 1}).refining_delay());
  for (int64_t limit = 1; limit <= needed + 9; ++limit) {
    const auto speaker =
        voice.synthesizer({.refine = 2, .threads = 1, .latency = (static_cast<double>(limit) + 0.1) * frame});
    const int64_t delay = limit - needed < 3 ? 0 : std::min<int64_t>(audio::RefineOptions{}.delay, limit - needed);
    EXPECT_EQ(speaker.refining_delay(), delay) << limit;
    EXPECT_EQ(speaker.refining_passes(), delay > 0 ? 2 : 0);
    EXPECT_EQ(speaker.first_frames(), std::min(limit, needed) + delay);
    const auto stream = speaker.open_stream(Noise(2));
    EXPECT_EQ(stream->snr_db().has_value(), limit < needed);
    std::vector<float> out;
    for (size_t t = 0; t < 40; ++t) {
      stream->add(std::span(frames).subspan(t * bands, bands), out);
      const int64_t late = std::min(limit, needed) + delay;
      EXPECT_EQ(static_cast<int64_t>(out.size()), std::max<int64_t>(0, static_cast<int64_t>(t) + 2 - late) * 64);
    }
    stream->finish(out);
    EXPECT_EQ(out.size(), 40u * 64u);
  }
}

}  // namespace
}  // namespace melflow::engine
