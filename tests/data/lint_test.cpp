// What `melflow data check` finds, in recordings that are made to have it.
#include "engine/data/lint.h"

#include <algorithm>
#include <fstream>

#include <sndfile.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/data/recordings.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;
using namespace melflow::testing;

std::vector<std::string> kinds(const ClipLint& clip) {
  std::vector<std::string> out;
  for (const auto& f : clip.findings) out.emplace_back(f.kind);
  return out;
}

ClipLint measured(const audio::Waveform& sound) {
  ClipLint clip;
  measure(sound, {}, clip);
  return clip;
}

audio::Waveform changed(audio::Waveform sound, const std::function<float(float, double)>& change) {
  for (size_t i = 0; i < sound.samples.size(); ++i) {
    sound.samples[i] = change(sound.samples[i], static_cast<double>(i) / sound.sample_rate);
  }
  return sound;
}

using Kinds = std::vector<std::string>;

TEST(Lint, FindsNothingInAGoodRecording) {
  const auto clip = measured(tone(3));
  EXPECT_EQ(kinds(clip), Kinds{});
  EXPECT_NEAR(clip.seconds, 3, 1e-9);
  EXPECT_GT(clip.peak_db, clip.rms_db);
  REQUIRE_SHARED("data/speech/kathleen_22k");
  int looked_at = 0;
  for (const auto& place : list_clips({shared("data/speech/kathleen_22k")}, 1).places) {
    if (++looked_at > 10) break;
    EXPECT_EQ(kinds(measured(audio::read_audio(place.path))), Kinds{}) << place.path;
  }
}

TEST(Lint, FindsTopsThatAreCutOffAlsoWhenScaledDownAfterwards) {
  const auto loud = changed(tone(1), [](float s, double) { return std::clamp(25 * s, -1.0f, 1.0f); });
  EXPECT_EQ(kinds(measured(loud)), Kinds{"clipped"});
  const auto scaled = changed(loud, [](float s, double) { return 0.4f * s; });
  EXPECT_EQ(kinds(measured(scaled)), Kinds{"clipped"});
}

/// Integers reach from -32768 to 32767: a top that is cut off at 32767 is one beside a single -32768.
TEST(Lint, FindsTopsThatAreCutOffOnOneSide) {
  auto loud = changed(tone(1), [](float s, double) {
    return std::round(std::clamp(25 * s, -0.95f, 32767.0f / 32768) * 32768) / 32768;
  });
  loud.samples[5] = -1;
  EXPECT_EQ(kinds(measured(loud)), Kinds{"clipped"});
}

/// Of a few steps, the natural tops of a sound are flat.
TEST(Lint, ACoarseRecordingIsNotCutOff) {
  for (const float steps : {64.0f, 128.0f, 32768.0f}) {
    const auto low = changed(audio::Waveform{std::vector<float>(48000), 48000}, [&](float, double t) {
      const double x = 0.08 * std::sin(2 * M_PI * 70 * t) + 0.3 * std::sin(2 * M_PI * 33 * t + 1);
      return std::round(static_cast<float>(x) * steps) / steps;
    });
    ClipLint clip;
    measure(low, {.hum_db = 1000}, clip);
    EXPECT_EQ(kinds(clip), Kinds{}) << steps;
  }
}

/// Tones of few different samples, at full scale or cut off there, of 16 bits or floats.
TEST(Lint, KnowsToneFromSquare) {
  const auto made = [](double frequency, int rate, float gain, float half, bool integers) {
    return changed(audio::Waveform{std::vector<float>(static_cast<size_t>(rate)), rate}, [=](float, double t) {
      const auto s = half * std::clamp(gain * static_cast<float>(std::sin(2 * M_PI * frequency * t)), -1.0f, 1.0f);
      return integers ? std::clamp(std::round(s * 32768), -32768.0f, 32767.0f) / 32768 : s;
    });
  };
  const auto clipped = [](const audio::Waveform& sound) {
    ClipLint clip;
    measure(sound, {.hum_db = 1000}, clip);
    return clip.clipped > 3;
  };
  for (const bool integers : {false, true}) {
    EXPECT_FALSE(clipped(made(1000, 48000, 1, 1, integers))) << integers;
    EXPECT_FALSE(clipped(made(441, 44100, 1, 1, integers))) << integers;
    EXPECT_TRUE(clipped(made(441, 44100, 10, 1, integers))) << integers;
    EXPECT_TRUE(clipped(made(1000, 48000, 10, 0.5f, integers))) << integers;
    EXPECT_TRUE(clipped(made(100, 44100, 1e6f, 1, integers))) << integers;
  }
}

/// A recording is read as its channels' mean, in which a top of one that is cut off is none.
TEST(Lint, LooksAtEachChannel) {
  const TempDir folder;
  const auto stereo = [&](const char* name, const std::function<float(float)>& left,
                          const std::function<float(float)>& right) {
    std::vector<float> both;
    for (const float s : tone(1).samples) both.insert(both.end(), {left(s), right(s)});
    SF_INFO info{};
    info.samplerate = 22050;
    info.channels = 2;
    info.format = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
    SNDFILE* file = sf_open((folder / name).c_str(), SFM_WRITE, &info);
    sf_writef_float(file, both.data(), static_cast<sf_count_t>(both.size() / 2));
    sf_close(file);
    const auto lint = lint_corpus(
        {folder / name}, {.hum_db = 1000}, [] { return false; }, [](size_t, size_t) {});
    return lint.clips.at(0);
  };
  const auto same = [](float s) { return s; };
  const auto cut = [](float s) { return std::clamp(20 * s, -0.5f, 0.5f); };
  const auto silent = [](float) { return 0.0f; };
  EXPECT_EQ(kinds(stereo("same.wav", same, same)), Kinds{});
  EXPECT_EQ(kinds(stereo("one.wav", silent, same)), Kinds{});
  const auto clipped = stereo("cut.wav", same, cut);
  ASSERT_EQ(kinds(clipped), Kinds{"clipped"});
  EXPECT_NE(clipped.findings[0].detail.find("-6.0 dB of channel 2"), std::string::npos) << clipped.findings[0].detail;
  EXPECT_EQ(kinds(stereo("phase.wav", same, [](float s) { return -0.9f * s; })), Kinds{"phase"});
  EXPECT_EQ(kinds(stereo("gone.wav", same, [](float s) { return -s; })), (Kinds{"silent", "phase"}));
}

TEST(Lint, FindsSoundBeyondFullScale) {
  const auto clip = measured(changed(tone(1), [](float s, double) { return 20 * s; }));
  EXPECT_EQ(kinds(clip), Kinds{"over"});
  CorpusLint lint;
  lint.clips.push_back(clip);
  EXPECT_EQ(summary_json(lint)["findings"]["over"], 1);
}

TEST(Lint, FindsDcHumGapsAndSilence) {
  for (const float offset : {0.02f, -0.02f}) {
    EXPECT_EQ(kinds(measured(changed(tone(2), [&](float s, double) { return s + offset; }))), Kinds{"dc"}) << offset;
  }
  for (const double mains : {50.0, 60.0}) {
    const auto hum = changed(
        tone(2), [&](float s, double t) { return s + 0.01f * static_cast<float>(std::sin(2 * M_PI * mains * t)); });
    EXPECT_EQ(kinds(measured(hum)), Kinds{"hum"}) << mains;
  }
  const auto gap = changed(tone(4), [](float s, double t) { return t > 1 && t < 2.8 ? 0.0f : s; });
  EXPECT_EQ(kinds(measured(gap)), Kinds{"gap"});
  EXPECT_EQ(kinds(measured({std::vector<float>(44100, 1e-6f), 22050})), Kinds{"silent"});
  EXPECT_EQ(kinds(measured(tone(0.2))), Kinds{"short"});
}

TEST(Lint, ComparesTheRecordingsOfACorpus) {
  const TempDir folder;
  for (int i = 0; i < 5; ++i) write(folder / ("a" + std::to_string(i) + ".wav"), tone(1, i));
  fs::copy(folder / "a1.wav", folder / "copy.wav");
  write(folder / "other_rate.wav", tone(1, 7, 16000));
  write(folder / "soft.wav", changed(tone(1, 8), [](float s, double) { return 0.1f * s; }));
  std::ofstream(folder / "broken.wav") << "RIFF nothing";
  std::ifstream in(folder / "a2.wav", std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(in), {}};
  std::ofstream(folder / "shard.tar", std::ios::binary) << tar({{"in_shard.wav", content}});
  std::ofstream(folder / "cut.tar", std::ios::binary) << tar({{"b.wav", content}}).substr(0, 2000);

  for (const int workers : {1, 3}) {
    size_t told = 0;
    const auto lint = lint_corpus(
        {folder.path()}, {.workers = workers}, [] { return false; },
        [&](size_t done, size_t total) { told = std::max(told, 100 * done / total); });
    EXPECT_EQ(told, 100u);
    std::map<std::string, Kinds> found;
    for (const auto& clip : lint.clips) found[fs::path(clip.name).filename()] = kinds(clip);
    EXPECT_EQ(found["a0.wav"], Kinds{});
    EXPECT_EQ(found["broken.wav"], Kinds{"broken"});
    EXPECT_EQ(found["copy.wav"], Kinds{"duplicate"});
    EXPECT_EQ(found["other_rate.wav"], Kinds{"rate"});
    EXPECT_EQ(found["soft.wav"], Kinds{"level"});
    EXPECT_EQ(found["shard.tar: 'in_shard.wav'"], Kinds{"duplicate"});
    EXPECT_EQ(lint.with_findings(), 5);
    EXPECT_EQ(lint.usual_rate, 22050);
    ASSERT_EQ(lint.refused.size(), 1u);
    EXPECT_NE(lint.refused[0].find("cut.tar"), std::string::npos);
    EXPECT_EQ(summary_json(lint)["findings"]["duplicate"], 2);
  }
}

TEST(Lint, ThePageShowsNamesAsText) {
  const TempDir folder;
  write(folder / "<script>alert(1)<.wav", tone(0.2));
  const auto lint = lint_corpus(
      {folder.path()}, {}, [] { return false; }, [](size_t, size_t) {});
  const auto page = lint_page(lint);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_NE(page.find("&lt;script&gt;alert(1)&lt;.wav"), std::string::npos);
  EXPECT_NE(page.find("short: 0.20 s"), std::string::npos);
  EXPECT_EQ(page.find("http"), std::string::npos);
}

TEST(Lint, TheSpreadOfLevelsLeavesOutATwentiethAtEachEnd) {
  const TempDir folder;
  for (int i = 0; i < 20; ++i) {
    const float gain = std::pow(0.8f, static_cast<float>(i));
    write(folder / (std::to_string(i) + ".wav"), changed(tone(0.5), [&](float s, double) { return gain * s; }));
  }
  const auto lint = lint_corpus(
      {folder.path()}, {}, [] { return false; }, [](size_t, size_t) {});
  std::vector<double> levels;
  for (const auto& clip : lint.clips) levels.push_back(clip.rms_db);
  std::ranges::sort(levels);
  ASSERT_EQ(levels.size(), 20u);
  EXPECT_EQ(lint.low_db, levels[1]);
  EXPECT_EQ(lint.median_db, levels[10]);
  EXPECT_EQ(lint.high_db, levels[18]);
}

}  // namespace
}  // namespace melflow::engine
