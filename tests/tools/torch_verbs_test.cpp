// score, eval, train and convert as a user meets them: what they say, and what they keep.

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

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
