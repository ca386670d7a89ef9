#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numbers>
#include <numeric>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "audio/wav.h"
#include "base/error.h"
#include "engine/eval/evaluator.h"
#include "engine/eval/html_report.h"
#include "engine/eval/pesq.h"
#include "engine/eval/recordings.h"
#include "engine/eval/score.h"
#include "engine/files/mel_file.h"
#include "engine/model_config.h"
#include "engine/tensors.h"
#include "engine/train/dataset.h"
#include "tests/files/checkpoints.h"
#include "tests/support/shared.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;
using melflow::testing::in_tree;
using melflow::testing::tar;
using melflow::testing::TempDir;

const double kHalfLog2Pi = 0.5 * std::log(2 * std::numbers::pi);

fs::path golden_clip() { return in_tree("data/golden/LJ001-0002.wav"); }
bool never() { return false; }
void silent(size_t, size_t) {}

/// A small voice with random weights, the same every time.
ModelVoice small_voice(double level = 0.0) {
  torch::manual_seed(11);
  ModelVoice voice;
  voice.name = "small";
  voice.model_config = resolved_model_config(
      {{"system", "waveglow"}, {"n_mels", 80}, {"n_flows", 2}, {"wavenet_layers", 2}, {"wavenet_channels", 4}}, "test");
  voice.model = build_vocoder(voice.model_config, "test");
  voice.level = level;
  torch::NoGradGuard no_grad;
  for (auto& p : voice.model->parameters()) p.add_(torch::randn_like(p) * 0.03);
  voice.model->eval();
  return voice;
}

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

void write_tone(const fs::path& path, double amplitude, size_t samples = 22050) {
  audio::Waveform sound{std::vector<float>(samples), 22050};
  for (size_t i = 0; i < samples; ++i) sound.samples[i] = static_cast<float>(amplitude * std::sin(0.06 * double(i)));
  audio::write_audio(path, sound, audio::Encoding::pcm16, AtomicFile::Existing::refuse);
}

TEST(Score, IsTheChangeOfVariables) {
  const auto voice = small_voice();
  const auto recording = read_recording(golden_clip(), voice);
  const auto x = whole_frames(recording.sound, 256);
  const auto mel = mel_tensor(recording.mel);
  const auto score = engine::score(*voice.model, x, mel);

  torch::NoGradGuard no_grad;
  const auto mapped = voice.model->forward(x, mel);
  const double samples = static_cast<double>(x.size(1));
  const double loss =
      (mapped.value.to(torch::kFloat64).square().sum().item<double>() / 2 - mapped.log_det.item<double>()) / samples;
  EXPECT_NEAR(score.loss, loss, 1e-5 * (1 + std::abs(loss)));
  EXPECT_NEAR(score.nats_per_sample, score.loss + kHalfLog2Pi, 1e-12);
  EXPECT_EQ(score.z.sizes(), torch::IntArrayRef({8, x.size(1) / 8}));
  EXPECT_TRUE(torch::equal(score.z, mapped.value[0]));
  EXPECT_NEAR(score.noise_power, mapped.value.square().mean().item<double>(), 1e-5 * score.noise_power);
}

TEST(Score, OfFramesAverageToTheWhole) {
  const auto voice = small_voice();
  const auto recording = read_recording(golden_clip(), voice);
  const auto score = engine::score(*voice.model, whole_frames(recording.sound, 256), mel_tensor(recording.mel));
  ASSERT_EQ(score.per_frame.size(), recording.sound.samples.size() / 256);
  const double mean = std::accumulate(score.per_frame.begin(), score.per_frame.end(), 0.0) /
                      static_cast<double>(score.per_frame.size());
  EXPECT_NEAR(mean, score.nats_per_sample, 1e-5);
}

TEST(Score, IsTheSameInTiles) {
  for (const char* system : {"waveglow", "block_flow"}) {
    torch::manual_seed(12);
    auto voice = small_voice();
    if (std::string(system) == "block_flow") {
      const nlohmann::json config{{"system", "block_flow"}, {"hidden", 16}, {"encoder_channels", 16}};
      voice.model = build_vocoder(config, "test");
      const auto bank = audio::mel_filterbank(voice.mel);
      voice.model->set_filterbank(torch::tensor(at::ArrayRef<double>(bank), torch::kFloat64).view({80, -1}));
      torch::NoGradGuard no_grad;
      for (auto& p : voice.model->parameters()) p.add_(torch::randn_like(p) * 0.03);
      voice.model->eval();
    }
    const auto recording = read_recording(golden_clip(), voice);
    const auto x = whole_frames(recording.sound, 256), mel = mel_tensor(recording.mel);
    const auto whole = engine::score(*voice.model, x, mel), tiled = engine::score(*voice.model, x, mel, 40);
    ASSERT_EQ(whole.per_frame.size(), tiled.per_frame.size());
    for (size_t i = 0; i < whole.per_frame.size(); ++i) {
      EXPECT_NEAR(whole.per_frame[i], tiled.per_frame[i], 1e-4 * (1 + std::abs(whole.per_frame[i]))) << system << i;
    }
    EXPECT_LT((whole.z - tiled.z).abs().max().item<double>(), 1e-3 * (1 + whole.z.abs().max().item<double>()))
        << system;
  }
}

TEST(Score, BringsARecordingToTheLevelOfTheVoice) {
  const auto voice = small_voice(0.1);
  const auto recording = read_recording(golden_clip(), voice);
  double sum = 0;
  for (const float s : recording.sound.samples) sum += static_cast<double>(s) * s;
  EXPECT_NEAR(std::sqrt(sum / static_cast<double>(recording.sound.samples.size())), 0.1, 1e-6);
  EXPECT_EQ(read_recording(golden_clip(), voice, Loudness::own).gain, 1.0);

  TempDir folder;
  write_tone(folder / "silent.wav", 0.0);
  EXPECT_THROW(read_recording(folder / "silent.wav", voice), Error);
}

TEST(Score, TakesTheMelFromAFile) {
  const auto voice = small_voice(0.1);
  TempDir folder;
  auto plain = read_recording(golden_clip(), voice, Loudness::own);
  plain.mel.recipe = voice.mel;
  files::write_mel(folder / "own.safetensors", plain.mel, AtomicFile::Existing::refuse);
  const auto with_file = read_recording(golden_clip(), voice, folder / "own.safetensors");
  EXPECT_EQ(with_file.mel.values, plain.mel.values);
  EXPECT_EQ(with_file.sound.samples, plain.sound.samples);

  auto other = plain.mel;
  other.recipe->f_max = 11025;
  files::write_mel(folder / "other.safetensors", other, AtomicFile::Existing::refuse);
  EXPECT_THROW(read_recording(golden_clip(), voice, folder / "other.safetensors"), Error);
  audio::Mel shorter{80, 10, std::vector<float>(800, -5.0f), voice.mel};
  files::write_mel(folder / "short.npy", shorter, AtomicFile::Existing::refuse);
  EXPECT_THROW(read_recording(golden_clip(), voice, folder / "short.npy"), Error);
}

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
  const auto read = read_recording(chosen.clips, chosen.clips.places[2], small_voice());
  EXPECT_EQ(read.sound.samples, read_recording(folder / "first" / "a.wav", small_voice()).sound.samples);
}

TEST(Evaluator, FindsNoDifferenceBetweenARecordingAndItself) {
  const auto voice = small_voice();
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
  const auto result = evaluate(small_voice(0.08), clips, {.griffin_lim_iterations = 5, .keep_sounds = 1}, never,
                               [&](size_t, size_t) { ++reports; });
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

TEST(HtmlReport, NeedsNothingButItself) {
  Variable no_python("MELFLOW_PYTHON", "/nonexistent/python");
  TempDir folder;
  const auto odd_name = folder / "<b>&\".wav";
  fs::copy_file(golden_clip(), odd_name);
  const Clips clips{{}, {{.path = odd_name}}, {}};
  const auto page =
      html_report(evaluate(small_voice(), clips, {.griffin_lim_iterations = 2, .keep_sounds = 1}, never, silent));
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

}  // namespace
}  // namespace melflow::engine
