// score, eval, train and convert as a user meets them: what they say, and what they keep.

#include <algorithm>
#include <cmath>
#include <sstream>

#include <nlohmann/json.hpp>

#include "audio/sound_file.h"
#include "tests/tools/cli_fixture.h"

namespace melflow {
namespace {

using melflow::testing::text_of;
using nlohmann::json;

using TorchVerbs = melflow::testing::CliFixture;

TEST_F(TorchVerbs, ScoreTakesARecordingAsLoudAsItIsWhereItIsTold) {
  const auto at_level = json::parse(run({"score", clip_, "--json"}).out);
  const auto own = json::parse(run({"score", clip_, "--json", "--own-level"}).out);
  EXPECT_NE(at_level["gain"], 1.0);
  EXPECT_EQ(own["gain"], 1.0);
  EXPECT_NE(at_level["loss"], own["loss"]);
}

TEST_F(TorchVerbs, ScoreSaysWhereItIsWorst) {
  const auto frames = json::parse(run({"score", clip_, "--json"}).out)["per_frame"].get<std::vector<double>>();
  const auto worst = std::ranges::max_element(frames) - frames.begin();
  char expected[64];
  std::snprintf(expected, sizeof expected, " at %.2f s", static_cast<double>(worst) * 256 / 22050);
  const auto line = run({"score", clip_}).out;
  EXPECT_NE(line.find(expected), std::string::npos) << line;
}

TEST_F(TorchVerbs, ScoreRanksAFolderTheStrangestFirst) {
  std::filesystem::create_directory(path("all"));
  std::filesystem::copy_file(clip_, path("all/b.wav"));
  audio::Waveform noise{.samples = std::vector<float>(22050), .sample_rate = 22050};
  for (size_t i = 0; i < noise.samples.size(); ++i) noise.samples[i] = 0.1f * static_cast<float>((i * 7919) % 13) / 13;
  audio::write_audio(path("all/c.wav"), noise, audio::Encoding::pcm16, AtomicFile::Existing::refuse);
  put("all/a.wav", "no audio");
  const auto result = run({"score", path("all"), "--rank", "--json"});
  EXPECT_EQ(result.code, 1);
  std::istringstream lines(result.out);
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) names.push_back(json::parse(line)["input"]);
  EXPECT_EQ(names, (std::vector<std::string>{path("all/c.wav"), path("all/b.wav"), path("all/a.wav")}));
  const auto text = run({"score", path("all"), "--rank"});
  EXPECT_LT(text.out.find("c.wav"), text.out.find("b.wav")) << text.out;
  EXPECT_EQ(run({"score", path("all"), "--plot", path("p.png")}).code, 64);
}

TEST_F(TorchVerbs, EvalsJsonIsOneObjectOnStdout) {
  const auto result = run({"eval", "--data", clip_, "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(std::ranges::count(result.out, '\n'), 1);
  EXPECT_EQ(json::parse(result.out)["recordings"].size(), 1u);
  EXPECT_EQ(run({"eval", "--data", clip_, "--json", path("e.json")}).code, 64);
}

TEST_F(TorchVerbs, EvalOfOneBadFileSaysWhatIsWrongByItsCode) {
  put("bad.wav", "no audio");
  put("worse.wav", "no audio either");
  EXPECT_EQ(run({"eval", "--data", path("bad.wav")}).code, 65);
  EXPECT_EQ(run({"eval", "--data", path("bad.wav"), path("worse.wav")}).code, 1);
}

TEST_F(TorchVerbs, EvalsPageHasTheSoundsInIt) {
  const auto result = run({"eval", "--data", clip_, "--html", path("page.html")});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(text_of(path("page.html")).find("<audio controls"), std::string::npos);
}

TEST_F(TorchVerbs, WhoTrainsOnAVoiceKeepsHowItSpeaks) {
  const auto result =
      run({"train", "--data", clip_, "--out", path("run"), "--threads", "1", "--init", "kathleen", "--set", "steps=1",
           "batch_size=1", "segment_frames=4", "hold_out_every=0", "sample_every=0", "validation_every=0"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto train = json::parse(text_of(path("run/config.json")))["train"];
  const auto voice = json::parse(run({"inspect", "kathleen", "--json"}).out)["voice"];
  for (const char* key : {"level", "sigma", "draws", "refine"}) EXPECT_EQ(train[key], voice[key]) << key;
}

TEST_F(TorchVerbs, ATrainingThatLearnedNothingSaysSo) {
  const auto result =
      run({"train", "--data", clip_, "--out", path("run"), "--threads", "1", "--set", "model.n_flows=2",
           "model.wavenet_layers=2", "model.wavenet_channels=4", "steps=2", "batch_size=1", "segment_frames=4",
           "hold_out_every=0", "sample_every=0", "validation_every=0", "dequantise=1e38"});
  EXPECT_EQ(result.code, 65) << result.err;
  EXPECT_NE(result.err.find("nothing was learned"), std::string::npos) << result.err;
}

TEST_F(TorchVerbs, ConvertRefusesWhatNvidiasClassCannotSay) {
  for (const auto& [kernel, code] : {std::pair{"1024", 0}, {"512", 65}}) {
    const auto out = path(kernel);
    ASSERT_EQ(
        run({"train", "--data", clip_, "--out", out, "--threads", "1", "--set", "model.n_flows=2",
             "model.wavenet_layers=2", "model.wavenet_channels=4", std::string("model.upsample_kernel=") + kernel,
             "steps=1", "batch_size=1", "segment_frames=4", "hold_out_every=0", "sample_every=0", "validation_every=0"})
            .code,
        0);
    EXPECT_EQ(run({"convert", out + "/voice.safetensors", "--to", "nvidia-state-dict", "-o", out + "/v.pt"}).code,
              code);
  }
}

}  // namespace
}  // namespace melflow
