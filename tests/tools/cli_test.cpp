// The command line as a user meets it: verbs, pipes, exit codes, messages, and that nothing is lost.

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "audio/sound_file.h"
#include "engine/files/mel_file.h"
#include "engine/files/npy.h"
#include "tests/tools/cli_fixture.h"

namespace melflow {
namespace {

using melflow::testing::in_tree;
using melflow::testing::text_of;
using nlohmann::json;

using Cli = melflow::testing::CliFixture;

/// Those that the help lists, below "verbs:" and before an empty line.
std::vector<std::string> verbs_of(const std::string& help) {
  std::istringstream lines(help.substr(help.find("\nverbs:\n") + 8));
  std::vector<std::string> verbs;
  for (std::string line, verb; std::getline(lines, line) && std::istringstream(line) >> verb;) verbs.push_back(verb);
  return verbs;
}

// A name may hold what moves a terminal's cursor or sets its title.
TEST_F(Cli, NoVerbSendsANamesControlCharactersToATerminal) {
  const auto name = path("a\x1b]0;b\x07.wav");
  std::filesystem::copy_file(clip_, name);
  for (const auto& verb : verbs_of(run({"--help"}).out)) {
    for (const auto& words : {std::vector<std::string>{verb, name},
                              {verb, name + "x"},
                              {verb, "check", name},
                              {verb, "--" + name},
                              {verb, name, "-o", path("b\x1b.wav"), "--force"},
                              {verb, "--data", name, "--voice", name, "--out", name}}) {
      if (verb == "bench") continue;  // takes no file
      const auto result = run(words);
      EXPECT_EQ((result.out + result.err).find('\x1b'), std::string::npos) << verb << ": " << result.out << result.err;
    }
  }
}

TEST_F(Cli, WithoutAVerbOrWithAWrongOneSaysHow) {
  EXPECT_EQ(run({}).code, 64);
  const auto wrong = run({"sinth"});
  EXPECT_EQ(wrong.code, 64);
  EXPECT_NE(wrong.err.find("'synth'"), std::string::npos) << wrong.err;
  const auto help = run({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_NE(help.out.find("synth"), std::string::npos);
  const auto verbs = verbs_of(help.out);
  EXPECT_GT(verbs.size(), 10u);
  for (const auto& verb : verbs) {
    EXPECT_EQ(run({verb, "--help"}).code, 0) << verb;
    EXPECT_EQ(run({verb, "--no-such-option"}).code, 64) << verb;
  }
  EXPECT_EQ(run({"help", "synth"}).out, run({"synth", "--help"}).out);
  EXPECT_EQ(run({"help", "data", "check"}).out, run({"data", "check", "--help"}).out);
  EXPECT_EQ(run({"flow", "help", "train"}).out, run({"flow", "train", "--help"}).out);
  EXPECT_EQ(run({"help", "--help"}).out, help.out);
  EXPECT_EQ(run({"help", "sinth"}).code, 64);
}

TEST_F(Cli, MelWritesWhatTheReferenceHas) {
  ASSERT_EQ(run({"mel", clip_, "-o", path("m.npy")}).code, 0);
  const auto mel = files::read_npy(path("m.npy"));
  const auto expected = files::read_npy(in_tree("data/golden/LJ001-0002.nvidia_22050_1024_256_80.npy"));
  ASSERT_EQ(mel.shape, expected.shape);
  double worst = 0;
  for (size_t i = 0; i < mel.values.size(); ++i)
    worst = std::max<double>(worst, std::abs(mel.values[i] - expected.values[i]));
  EXPECT_LT(worst, 5e-4);
}

TEST_F(Cli, AMelFileCarriesItsRecipe) {
  ASSERT_EQ(run({"mel", clip_, "-o", path("m.safetensors"), "--recipe", "hifigan", "--set", "f_max=7600"}).code, 0);
  const auto recipe = files::read_mel(path("m.safetensors")).recipe;
  ASSERT_TRUE(recipe);
  EXPECT_FALSE(recipe->centre);
  EXPECT_EQ(recipe->f_max, 7600);
  const auto refused = run({"synth", path("m.safetensors"), "-o", path("x.wav")});
  EXPECT_EQ(refused.code, 65);
  EXPECT_NE(refused.err.find("recipe"), std::string::npos) << refused.err;
  EXPECT_FALSE(std::filesystem::exists(path("x.wav")));
  ASSERT_EQ(run({"mel", clip_, "-o", path("shipped.safetensors"), "--recipe", "kathleen"}).code, 0);
  EXPECT_EQ(run({"synth", path("shipped.safetensors"), "-o", path("x.wav")}).code, 0) << "by the name of a voice";
}

TEST_F(Cli, ExitCodesSayWhatWentWrong) {
  put("empty.wav", "");
  put("text.npy", "not an array");
  put("model.pt", std::string("PK\3\4") + "xxxx");
  const std::string out = path("o.wav");
  EXPECT_EQ(run({"mel", path("missing.wav"), "-o", path("m.npy")}).code, 66);
  EXPECT_EQ(run({"mel", path("empty.wav"), "-o", path("m.npy")}).code, 65);
  EXPECT_EQ(run({"mel", clip_, "-o", path("no/such/folder/m.npy")}).code, 73);
  EXPECT_EQ(run({"mel", clip_, "-o", path("m.xyz")}).code, 64);
  EXPECT_EQ(run({"mel", clip_}).code, 64);
  EXPECT_EQ(run({"mel", clip_, "-o", path("m.npy"), "--set", "hop_lenght=3"}).code, 78);
  EXPECT_EQ(run({"synth", path("text.npy"), "-o", out}).code, 65);
  EXPECT_EQ(run({"synth", path("model.pt"), "-o", out}).code, 65);
  EXPECT_EQ(run({"synth", short_mel(), "-o", out, "--voice", path("none.safetensors")}).code, 66);
  EXPECT_EQ(run({"synth", short_mel(), "-o", out, "--voice", "kathlen"}).code, 66);
  EXPECT_EQ(run({"synth", short_mel(), "-o", out, "--device", "tpu"}).code, 64);
  EXPECT_EQ(run({"synth", short_mel(), "-o", out, "--encoding", "pcm7"}).code, 64);
  EXPECT_EQ(run({"synth", clip_, clip_, "-o", out}).code, 64);
  EXPECT_EQ(run({"train", "--data", path("nowhere"), "--out", path("run")}).code, 66);
  EXPECT_EQ(run({"train", "--data", clip_, "--out", path("run"), "--device", "tpu"}).code, 64);
  EXPECT_FALSE(std::filesystem::exists(path("run")));
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST_F(Cli, SettingsEndWhereARecordingIsNamed) {
  ASSERT_EQ(run({"mel", "-o", path("m.npy"), "--set", "n_fft=512", "win_length=512", clip_}).code, 0);
  ASSERT_EQ(run({"mel", clip_, "-o", path("n.npy"), "--set", "n_fft=512", "--set", "win_length=512"}).code, 0);
  EXPECT_EQ(text_of(path("m.npy")), text_of(path("n.npy")));
  EXPECT_EQ(run({"mel", "-o", path("o.npy")}).code, 64);
  const auto unset = run({"mel", clip_, "-o", path("o.npy"), "--set", "n_fft", "512"});
  EXPECT_EQ(unset.code, 64);
  EXPECT_NE(unset.err.find("--set n_fft: write it as key=value"), std::string::npos) << unset.err;
}

TEST_F(Cli, AMelOfAnotherScaleIsSpokenWithAWord) {
  auto mel = part_of_sample(12);
  files::write_mel(path("ln.npy"), mel, AtomicFile::Existing::refuse);
  for (float& x : mel.values) x *= 8.686f;
  files::write_mel(path("db.npy"), mel, AtomicFile::Existing::refuse);
  for (float& x : mel.values) x = std::exp(x / 8.686f);
  files::write_mel(path("linear.npy"), mel, AtomicFile::Existing::refuse);
  for (float& x : mel.values) x = std::max(std::log10(x), -2.0f);  // a floor that some of it lies below
  files::write_mel(path("log10.npy"), mel, AtomicFile::Existing::refuse);
  for (const auto& [name, told] : {std::pair{"ln", false}, {"db", true}, {"linear", true}, {"log10", true}}) {
    const auto result = run({"synth", path(std::string(name) + ".npy"), "-o", path(std::string(name) + ".wav")});
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err.find("natural logarithms") != std::string::npos, told) << name << ": " << result.err;
  }
}

TEST_F(Cli, SameSeedSameSoundAndNoiseCanBeDumpedAndGivenBack) {
  const auto mel = short_mel();
  ASSERT_EQ(run({"synth", mel, "-o", path("a.npy"), "--seed", "5", "--dump-z", path("z.npy")}).code, 0);
  EXPECT_EQ(run({"synth", mel, "-o", path("other.npy"), "--dump-z", path("z.npy")}).code, 73);
  EXPECT_FALSE(std::filesystem::exists(path("other.npy")));  // told before the work
  ASSERT_EQ(run({"synth", mel, "-o", path("b.npy"), "--z", path("z.npy")}).code, 0);
  ASSERT_EQ(run({"synth", mel, "-o", path("c.npy"), "--seed", "6"}).code, 0);
  EXPECT_EQ(text_of(path("a.npy")), text_of(path("b.npy")));
  EXPECT_NE(text_of(path("a.npy")), text_of(path("c.npy")));
  EXPECT_EQ(run({"synth", path("short.npy"), "-o", path("d.npy"), "--z", path("a.npy")}).code, 65);
}

TEST_F(Cli, OneBadInputDoesNotStopTheRest) {
  put("bad.npy", "no");
  const auto result = run({"synth", path("bad.npy"), short_mel(), "-d", path("out"), "--json"});
  EXPECT_EQ(result.code, 1);
  EXPECT_TRUE(std::filesystem::exists(path("out/short.wav")));
  EXPECT_FALSE(std::filesystem::exists(path("out/bad.wav")));
  std::istringstream lines(result.out);
  std::string line;
  std::vector<json> items;
  while (std::getline(lines, line)) items.push_back(json::parse(line));
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0]["exit_code"], 65);
  EXPECT_EQ(items[1]["samples"], 24 * 256);
}

TEST_F(Cli, CopySynthesisKeepsTheLength) {
  ASSERT_EQ(run({"synth", clip_, "-o", path("copy.wav")}).code, 0);
  EXPECT_EQ(audio::audio_info(path("copy.wav")).frames, audio::audio_info(clip_).frames);
}

TEST_F(Cli, InspectAndVoicesTellWhatIsThere) {
  EXPECT_EQ(run({"inspect", "kathleen"}).code, 0) << "by the name of a voice";
  const auto voices = run({"voices", "--json"});
  ASSERT_EQ(voices.code, 0);
  const auto voice = json::parse(voices.out.substr(0, voices.out.find('\n')));
  const auto result = run({"inspect", voice["path"].get<std::string>(), "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto facts = json::parse(result.out);
  EXPECT_EQ(facts["layout"], "melflow voice");
  EXPECT_GT(facts["voice"]["parameters"].get<int64_t>(), 0);
  EXPECT_FALSE(facts["tensors"].empty());
  EXPECT_EQ(run({"inspect", clip_}).code, 65);
  EXPECT_EQ(run({"version"}).code, 0);
  EXPECT_EQ(run({"doctor"}).code, 0);
}

TEST_F(Cli, InspectCountsWhatIsNoNumberAndLeavesItOutOfTheRange) {
  const std::vector<float> values{1.5f, NAN, -2, INFINITY};
  files::write_npy(path("a.npy"), std::vector<int64_t>{4}, values, AtomicFile::Existing::refuse);
  const auto facts = json::parse(run({"inspect", path("a.npy"), "--json"}).out);
  EXPECT_EQ(facts["not_finite"], 2);
  EXPECT_EQ(facts["range"], (json{-2.0, 1.5}));
}

TEST_F(Cli, PlayWithoutADeviceSaysSo) {
  if (run({"devices"}).out.find("out ") != std::string::npos) GTEST_SKIP() << "there is a sound device here";
  const auto result = run({"play", short_mel()});
  EXPECT_EQ(result.code, 69);
  EXPECT_NE(result.err.find("no sound device"), std::string::npos);
}

TEST_F(Cli, ScoreGivesTheConstantAndTheLoss) {
  const auto result = run({"score", "--voice", "kathleen", clip_, "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto item = json::parse(result.out);
  EXPECT_NEAR(item["nats_per_sample"].get<double>() - item["loss"].get<double>(), 0.5 * std::log(2 * M_PI), 1e-5);
  EXPECT_FALSE(item["per_frame"].empty());
}

TEST_F(Cli, ScoreDrawsOneRecording) {
  const std::vector<std::string> draw{"score", "--voice", "kathleen", clip_, "--plot", path("score.png")};
  ASSERT_EQ(run(draw).code, 0);
  EXPECT_EQ(text_of(path("score.png")).substr(1, 3), "PNG");
  EXPECT_EQ(run(draw).code, 73);  // the picture is there already
  EXPECT_EQ(run({"score", clip_, clip_, "--plot", path("two.png")}).code, 64);
  EXPECT_EQ(run({"score", clip_, "--plot", path("score.jpg")}).code, 64);
}

TEST_F(Cli, TrainStopsOnASignalAndGoesOn) {
  std::filesystem::create_directories(path("data"));
  for (const char* name : {"a.wav", "b.wav", "c.wav"}) std::filesystem::copy_file(clip_, folder_ / "data" / name);
  const std::vector<std::string> train{"train",
                                       "--data",
                                       path("data"),
                                       "--out",
                                       path("run"),
                                       "--threads",
                                       "1",
                                       "--set",
                                       "model.n_flows=2",
                                       "model.wavenet_layers=2",
                                       "model.wavenet_channels=4",
                                       "batch_size=1",
                                       "segment_frames=4",
                                       "steps=100000",
                                       "sample_every=0",
                                       "validation_every=0",
                                       "checkpoint_every=0"};
  const auto child = program_.start(train);
  for (int i = 0;
       i < 600 && text_of(path("run/metrics.jsonl")).empty() && !std::filesystem::exists(path("run/config.json"));
       ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const auto second = run({"train", "--data", path("data"), "--out", path("run"), "--resume", "--threads", "1"});
  EXPECT_EQ(second.code, 73);  // two would overwrite each other's checkpoints
  EXPECT_NE(second.err.find("another process trains in it"), std::string::npos) << second.err;
  kill(child, SIGHUP);  // as a terminal that is lost says it: twice
  kill(child, SIGHUP);
  const auto stopped = program_.wait(child);
  EXPECT_EQ(stopped.code, 129) << stopped.err;
  EXPECT_TRUE(std::filesystem::exists(path("run/voice.safetensors"))) << stopped.err;
  EXPECT_EQ(run(train).code, 73);  // a run is never started over by accident
  const auto checkpoints = std::filesystem::directory_iterator(path("run/checkpoints"));
  const auto step = checkpoints->path().stem().string().substr(5);
  const auto resumed = run(
      {"train", "--data", path("data"), "--out", path("run"), "--resume", "--threads", "1", "--set", "steps=" + step});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("going on at step " + step), std::string::npos) << resumed.err;
  EXPECT_EQ(resumed.err.find("other data than before"), std::string::npos) << resumed.err;
  const auto recipe = run(
      {"train", "--data", path("data"), "--out", path("run"), "--resume", "--threads", "1", "--set", "mel.f_max=6000"});
  EXPECT_EQ(recipe.code, 78) << recipe.err;
  EXPECT_NE(recipe.err.find("mel.f_max is 8000, not 6000"), std::string::npos) << recipe.err;
  std::filesystem::copy_file(clip_, folder_ / "data" / "d.wav");
  const auto with_more = run(
      {"train", "--data", path("data"), "--out", path("run"), "--resume", "--threads", "1", "--set", "steps=" + step});
  EXPECT_EQ(with_more.code, 0) << with_more.err;
  EXPECT_NE(with_more.err.find("on other data than before"), std::string::npos) << with_more.err;
}

}  // namespace
}  // namespace melflow
