#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/eval/evaluator.h"
#include "engine/eval/html_report.h"
#include "engine/eval/pesq.h"
#include "engine/eval/recordings.h"
#include "engine/eval/score.h"
#include "engine/train/dataset.h"
#include "tests/engine/eval_fixture.h"
#include "tests/files/checkpoints.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;
using melflow::testing::tar;
using melflow::testing::TempDir;

bool never() { return false; }
void silent(size_t, size_t) {}

/// An environment variable for the time of a test.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value.c_str(), 1);
  }
  ~Variable() { before_.empty() ? ::unsetenv(name_) : ::setenv(name_, before_.c_str(), 1); }

 private:
  const char* name_;
  std::string before_;
};

std::vector<std::string> names_of(const ChosenRecordings& chosen) {
  std::vector<std::string> names;
  for (const auto& place : chosen.clips.places) names.push_back(chosen.clips.name(place));
  return names;
}

std::vector<std::string> kept_out_of(const std::vector<fs::path>& data, const TrainConfig& training) {
  std::vector<std::string> names;
  const auto corpus = load_corpus(data, training, [](const std::string&) {});
  for (const auto& clip : corpus->held_out()) names.push_back(clip->name);
  return names;
}

TEST(Recordings, AreTheOnesThatATrainingKeepsOut) {
  TempDir folder;
  for (const char* name : {"a.wav", "c.wav", "d.wav", "e.wav"}) write_tone(folder / name, 0.2);
  std::ofstream(folder / "b.wav") << "no audio";  // not counted, as a training does not count it
  const auto chosen = choose_recordings({folder.path()}, {}, {.hold_out_every = 2});
  EXPECT_EQ(names_of(chosen), (std::vector<std::string>{folder / "a.wav", folder / "d.wav"}));
  ASSERT_EQ(chosen.refused.size(), 1u);
  EXPECT_EQ(chosen.refused[0].code, Exit::bad_data);
  TrainConfig training;
  training.hold_out_every = 2;
  EXPECT_EQ(names_of(chosen), kept_out_of({folder.path()}, training));
  EXPECT_EQ(choose_recordings({folder.path()}, {}, {}).clips.places.size(), 5u);
  EXPECT_EQ(choose_recordings({folder.path()}, {}, {.limit = 3}).clips.places.size(), 3u);
  EXPECT_THROW(choose_recordings({folder / "nothing"}, {}, {}), Error);
}

TEST(Recordings, AreCountedThroughAllFoldersAndShards) {
  TempDir folder;
  std::vector<std::pair<std::string, std::string>> members;
  for (const char* part : {"first", "second"}) {
    fs::create_directory(folder / part);
    for (const char* name : {"a.wav", "b.wav", "c.wav", "d.wav"}) write_tone(folder / part / name, 0.2);
  }
  for (const char* name : {"x.wav", "y.wav", "z.wav"})
    members.emplace_back(name, testing::contents(folder / "first" / "a.wav"));
  std::ofstream(folder / "second" / "b.tar", std::ios::binary) << tar(members);
  const std::vector<fs::path> data{folder / "first", folder / "second"};
  TrainConfig training;
  training.hold_out_every = 3;
  const auto chosen = choose_recordings(data, {}, {.hold_out_every = 3});
  EXPECT_EQ(names_of(chosen), kept_out_of(data, training));
  ASSERT_EQ(chosen.clips.places.size(), 4u);
  EXPECT_EQ(chosen.clips.name(chosen.clips.places[2]), (folder / "second" / "b.tar").string() + ": 'y.wav'");
  const auto read = read_recording(chosen.clips, chosen.clips.places[2], random_waveglow_voice());
  EXPECT_EQ(read.sound.samples, read_recording(folder / "first" / "a.wav", random_waveglow_voice()).sound.samples);
}

TEST(Evaluator, FindsNoDifferenceBetweenARecordingAndItself) {
  const auto voice = random_waveglow_voice();
  const auto sound = read_recording(golden_clip(), voice).sound;
  const auto same = measure(sound, sound, voice.mel, 8);
  EXPECT_EQ(same.log_stft, 0.0);
  EXPECT_EQ(same.spectral_convergence, 0.0);
  EXPECT_EQ(same.mel_l1, 0.0);
  EXPECT_EQ(same.voicing_f1, 1.0);
  EXPECT_EQ(same.pitch_error_cents, 0.0);
}

TEST(Evaluator, MeasuresAVoiceBesideGriffinLimAndGoesOnAfterABadFile) {
  Variable no_python("MELFLOW_PYTHON", "/nonexistent/python");
  TempDir folder;
  std::ofstream(folder / "a.wav") << "no audio";
  fs::copy_file(golden_clip(), folder / "b.wav");
  const Clips clips{{}, {{.path = folder / "a.wav"}, {.path = folder / "b.wav"}}, {}};
  size_t reports = 0;
  const auto result = evaluate(random_waveglow_voice(0.08), clips, {.griffin_lim_iterations = 5, .keep_sounds = 1},
                               never, [&](size_t, size_t) { ++reports; });
  EXPECT_EQ(reports, 3u);
  ASSERT_EQ(result.failures.size(), 1u);
  EXPECT_EQ(result.failures[0].code, Exit::bad_data);
  ASSERT_EQ(result.items.size(), 1u);
  const auto& item = result.items[0];
  for (const auto& name : kMeasures) {
    const std::string key = name.key;
    if (key == "pesq" || key == "pitch_error_cents") continue;  // a random voice has no pitch
    EXPECT_TRUE(std::isfinite(item.voice.*name.value)) << key;
    EXPECT_EQ(std::isfinite(item.griffin_lim.*name.value), key != "nats_per_sample") << key;
    EXPECT_EQ(std::isfinite(item.refined_noise.*name.value), key != "nats_per_sample") << key;
  }
  EXPECT_LT(item.griffin_lim.mel_l1, item.voice.mel_l1);  // the random voice is beaten by far
  EXPECT_LT(item.refined_noise.mel_l1, item.voice.mel_l1);
  EXPECT_FALSE(result.pesq_absent.empty());

  const auto json = to_json(result);
  EXPECT_TRUE(json["pesq"].is_null());
  EXPECT_TRUE(json["griffin_lim"]["nats_per_sample"].is_null());
  EXPECT_EQ(json["recordings"].size(), 1u);
  EXPECT_EQ(json["failed"].size(), 1u);
  EXPECT_NEAR(json["mel_l1"].get<double>(), item.voice.mel_l1, 1e-12);  // the mean of one
}

/// Who fails on a recording gains nothing by it.
TEST(Evaluation, MeansAreOfTheRecordingsThatAllAreKnownOn) {
  Evaluation evaluation;
  evaluation.items.resize(2);
  auto &first = evaluation.items[0], &second = evaluation.items[1];
  first.voice.pesq = 4;
  first.griffin_lim.pesq = 3;
  second.voice.pesq = std::nan("");
  second.griffin_lim.pesq = 1;
  EXPECT_EQ(evaluation.mean(&EvalItem::voice).pesq, 4);
  EXPECT_EQ(evaluation.mean(&EvalItem::griffin_lim).pesq, 3);
  EXPECT_TRUE(std::isnan(evaluation.mean(&EvalItem::refined_noise).pesq));  // known on none
  EXPECT_EQ(to_json(evaluation)["compared"]["pesq"], 1);
  EXPECT_EQ(to_json(evaluation)["compared"]["hum_db"], 0);
}

TEST(HtmlReport, NeedsNothingButItself) {
  Variable no_python("MELFLOW_PYTHON", "/nonexistent/python");
  TempDir folder;
  const auto odd_name = folder / "<b>&\".wav";
  fs::copy_file(golden_clip(), odd_name);
  const Clips clips{{}, {{.path = odd_name}}, {}};
  const auto page = html_report(
      evaluate(random_waveglow_voice(), clips, {.griffin_lim_iterations = 2, .keep_sounds = 1}, never, silent));
  for (const char* elsewhere : {"http:", "https:", "href=", "url(", "@import", "srcset="}) {
    EXPECT_EQ(page.find(elsewhere), std::string::npos) << elsewhere;
  }
  for (size_t at = 0; (at = page.find("src=", at)) != std::string::npos; ++at) {
    EXPECT_EQ(page.substr(at, 10), "src=\"data:");
  }
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("<b>"), std::string::npos);
  EXPECT_NE(page.find("&lt;b&gt;&amp;&quot;.wav"), std::string::npos);
  size_t players = 0;
  for (size_t at = 0; (at = page.find("<audio controls", at)) != std::string::npos; ++at) ++players;
  EXPECT_EQ(players, 3u);
  EXPECT_NE(page.find("src=\"data:audio/wav;base64,UklGR"), std::string::npos);        // "RIFF"
  EXPECT_NE(page.find("src=\"data:image/png;base64,iVBORw0KGgo"), std::string::npos);  // PNG's signature
  EXPECT_NE(page.find("<polyline"), std::string::npos);
}

/// A stand-in for Python: a shell script that is called as Python would be.
fs::path fake_python(const TempDir& folder, const std::string& body) {
  const auto path = folder / "python";
  std::ofstream(path) << "#!/bin/sh\n" << body;
  fs::permissions(path, fs::perms::owner_all);
  return path;
}

TEST(Pesq, TakesOneScoreAPairFromThePythonThatIsNamed) {
  TempDir folder;
  const audio::Waveform sound{std::vector<float>(22050, 0.1f), 22050};
  {
    Variable python("MELFLOW_PYTHON", fake_python(folder, "echo ready\n[ $2 = 2 ] && echo 4.5 && echo nan\n").string());
    PesqRun run;
    run.add(sound, sound);
    run.add(sound, sound);
    const auto result = run.finish(never);
    EXPECT_EQ(result.absent, "");
    ASSERT_EQ(result.scores.size(), 2u);
    EXPECT_EQ(result.scores[0], 4.5);
    EXPECT_TRUE(std::isnan(result.scores[1]));
  }
  for (const char* body : {"echo absent no such module\n", "echo ready\n", "exit 1\n"}) {
    Variable python("MELFLOW_PYTHON", fake_python(folder, body).string());
    PesqRun run;
    run.add(sound, sound);
    EXPECT_FALSE(run.finish(never).absent.empty()) << body;
  }
}

TEST(Pesq, OfEachWayGoesToThatWay) {
  TempDir folder;
  Variable python("MELFLOW_PYTHON", fake_python(folder, "echo ready\necho 1.5\necho 2.5\necho 3.5\n").string());
  fs::copy_file(golden_clip(), folder / "a.wav");
  const Clips clips{{}, {{.path = folder / "a.wav"}}, {}};
  const auto result = evaluate(random_waveglow_voice(), clips, {.griffin_lim_iterations = 2}, never, silent);
  ASSERT_EQ(result.items.size(), 1u);
  EXPECT_EQ(result.items[0].voice.pesq, 1.5);
  EXPECT_EQ(result.items[0].griffin_lim.pesq, 2.5);
  EXPECT_EQ(result.items[0].refined_noise.pesq, 3.5);
}

}  // namespace
}  // namespace melflow::engine
