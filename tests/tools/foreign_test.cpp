// Other people's files on the command line: opened, converted both ways, listed, or refused; nothing in them runs.

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "engine/files/checkpoint_file.h"
#include "engine/files/mel_file.h"
#include "engine/files/npy.h"
#include "tests/tools/module_pickle.h"
#include "tests/tools/program.h"

namespace melflow {
namespace {

using melflow::testing::in_tree;
using melflow::testing::Program;
using melflow::testing::shared;
using melflow::testing::TempDir;
using melflow::testing::text_of;
using nlohmann::json;

class Foreign : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  testing::Result run(const std::vector<std::string>& arguments) const { return program_.run(arguments); }
  static std::string smallest(const std::string& name) {
    return (in_tree("tests/fuzz/corpus/checkpoint") / name).string();
  }

  TempDir folder_;
  Program program_{folder_.path()};
};

TEST_F(Foreign, ConvertGoesToOurFileAndBackWithoutChangingABit) {
  ASSERT_EQ(run({"convert", smallest("zip"), "-o", path("v.safetensors")}).code, 0);
  const auto card = json::parse(run({"inspect", path("v.safetensors"), "--json"}).out);
  EXPECT_EQ(card["layout"], "melflow voice");
  EXPECT_EQ(card["voice"]["model"]["n_flows"], 2);
  EXPECT_NE(card["voice"]["card"]["origin"].get<std::string>().find("PyTorch zip"), std::string::npos);
  ASSERT_EQ(run({"convert", path("v.safetensors"), "--to", "nvidia-state-dict", "-o", path("back.pt")}).code, 0);
  const files::CheckpointFile first(smallest("zip")), back(path("back.pt"));
  ASSERT_EQ(first.content().tensors.size(), back.content().tensors.size());
  files::Arrays made;
  for (const auto& [key, tensor] : first.content().tensors) {
    const auto a = files::in_c_order(tensor, made), b = files::in_c_order(back.content().tensors.at(key), made);
    EXPECT_EQ(a.shape, b.shape) << key;
    EXPECT_TRUE(std::ranges::equal(a.bytes, b.bytes)) << key;
  }
}

TEST_F(Foreign, AVoiceIsHalvedAndSoundsTheSame) {
  const auto kathleen = std::string(MELFLOW_SOURCE_DIR) + "/data/voices/kathleen.safetensors";
  const auto mel = std::string(MELFLOW_SOURCE_DIR) + "/data/samples/sentence.npy";
  EXPECT_EQ(run({"convert", kathleen, "-o", path("same.safetensors")}).code, 64);
  // Its matrices are halves already: the same numbers, the same sound.
  ASSERT_EQ(run({"convert", kathleen, "--half", "--name", "k", "-o", path("half.safetensors")}).code, 0);
  for (const auto& [voice, out] : {std::pair{kathleen, "a.npy"}, {path("half.safetensors"), "b.npy"}}) {
    ASSERT_EQ(run({"synth", mel, "--voice", voice, "-o", path(out)}).code, 0);
  }
  EXPECT_EQ(text_of(path("a.npy")), text_of(path("b.npy")));
  // So is a published model.
  ASSERT_EQ(run({"convert", smallest("zip"), "-o", path("whole.safetensors")}).code, 0);
  ASSERT_EQ(run({"convert", path("whole.safetensors"), "--half", "-o", path("small.safetensors")}).code, 0);
  const files::SafetensorsFile small(path("small.safetensors"));
  for (const auto& [key, view] : small.tensors())
    EXPECT_EQ(view.dtype == files::Dtype::f16, view.shape.size() > 1) << key;
  EXPECT_EQ(run({"inspect", path("small.safetensors")}).code, 0);
  EXPECT_EQ(run({"convert", kathleen, "--half", "--to", "nvidia-state-dict", "-o", path("x.pt")}).code, 64);
  EXPECT_EQ(run({"convert", kathleen, "--half", "--set", "f_max=7000", "-o", path("x.safetensors")}).code, 64);
  const auto half = text_of(path("half.safetensors"));
  EXPECT_EQ(run({"convert", path("half.safetensors"), "--int8", "-o", path("half.safetensors"), "--force"}).code, 64);
  EXPECT_EQ(text_of(path("half.safetensors")), half);
}

TEST_F(Foreign, ConvertOverwritesNothingAndKeepsTheRecipeThatItIsTold) {
  ASSERT_EQ(run({"convert", smallest("nemo"), "-o", path("v.safetensors"), "--set", "sample_rate=16000"}).code, 0);
  EXPECT_EQ(run({"convert", smallest("nemo"), "-o", path("v.safetensors")}).code, 73);
  const auto metadata = json::parse(run({"inspect", path("v.safetensors"), "--json"}).out)["metadata"];
  EXPECT_EQ(json::parse(metadata["mel_recipe"].get<std::string>())["sample_rate"], 16000);
  // No tensor tells the hop, so that it is told: both the model's and the mel's.
  const auto other = run({"convert", smallest("nemo"), "-o", path("h.safetensors"), "--set", "hop_length=4", "--json"});
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_EQ(json::parse(other.out)["model"]["hop_length"], 4);
  EXPECT_EQ(json::parse(other.out)["card"]["name"], "h");
  const auto named = run({"convert", smallest("nemo"), "-o", path("i.safetensors"), "--name", "Iris", "--json"});
  EXPECT_EQ(json::parse(named.out)["card"]["name"], "Iris");
  EXPECT_NE(json::parse(other.out)["card"]["mel_recipe_origin"].get<std::string>().find("but hop_length=4"),
            std::string::npos);
  EXPECT_EQ(run({"convert", smallest("nemo"), "-o", path("v.txt")}).code, 64);
  EXPECT_EQ(run({"convert", path("v.safetensors"), "-o", path("w.safetensors")}).code, 64);
  EXPECT_EQ(run({"convert", path("v.safetensors"), "--to", "nvidia-state-dict", "-o", path("w.wav")}).code, 64);
  EXPECT_EQ(run({"convert", smallest("nemo"), "-o", path("u.safetensors"), "--set", "bogus=1"}).code, 78);
  ASSERT_EQ(run({"convert", smallest("nemo"), "-o", path("n\xff.safetensors")}).code, 0);  // its name is no text
  EXPECT_EQ(run({"convert", smallest("strided"), "-o", path("w.safetensors")}).code, 65);
  EXPECT_FALSE(std::filesystem::exists(path("w.safetensors")));
}

TEST_F(Foreign, PythonOpensWhatConvertWrites) {
  const char* python = std::getenv("MELFLOW_PYTHON");
  if (python == nullptr) GTEST_SKIP() << "MELFLOW_PYTHON names no Python with torch";
  ASSERT_EQ(run({"convert", smallest("zip"), "--to", "nvidia-state-dict", "-o", path("back.pt")}).code, 0);
  std::ofstream(path("check.py")) << "import sys, torch\n"
                                     "a, b = (torch.load(p, weights_only=True) for p in sys.argv[1:])\n"
                                     "assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)\n";
  const auto command = std::string(python) + " " + path("check.py") + " " + smallest("zip") + " " + path("back.pt");
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST_F(Foreign, PythonSeesTheSameInOtherPeoplesCheckpoints) {
  const char* python = std::getenv("MELFLOW_PYTHON");
  if (python == nullptr) GTEST_SKIP() << "MELFLOW_PYTHON names no Python with torch";
  auto command = std::string(python) + " " + in_tree("tests/tools/checkpoint_listing.py").string() + " " +
                 MELFLOW_PROGRAM + " " + smallest("strided");
  if (const auto real = shared("data/checkpoints"); std::filesystem::exists(real)) command += " " + real.string();
  EXPECT_EQ(std::system((command + " > " + path("listing")).c_str()), 0) << text_of(path("listing"));
}

TEST_F(Foreign, InspectTellsArraysApartByTheirNumbersAsFloat32) {
  files::write_npy(path("zero.npy"), std::array<int64_t, 1>{1}, std::array<float, 1>{0}, AtomicFile::Existing::replace);
  const auto row = json::parse(run({"inspect", path("zero.npy"), "--json", "--sha256"}).out);
  EXPECT_EQ(row["sha256"], "df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119");
}

TEST_F(Foreign, InspectTellsTensorsApartByTheirNumbers) {
  ASSERT_EQ(run({"convert", smallest("zip"), "--to", "nvidia-state-dict", "-o", path("back.pt")}).code, 0);
  const auto first = json::parse(run({"inspect", smallest("zip"), "--json", "--sha256"}).out)["tensors"];
  EXPECT_EQ(first, json::parse(run({"inspect", path("back.pt"), "--json", "--sha256"}).out)["tensors"]);
  for (const auto& row : first) {
    // sha256 of the four bytes of 0.0f; of 1.0f
    if (row["name"] == "upsample.bias") {
      EXPECT_EQ(row["sha256"], "df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119");
    }
    if (row["name"] == "WN.0.start.weight_g") {
      EXPECT_EQ(row["sha256"], "e00e5eb9444182f352323374ef4e08ebcb784725fdd4fd612d7730540b3e0c8c");
    }
  }
}

TEST_F(Foreign, AnyLayoutSpeaksAsTheReferenceDoes) {
  REQUIRE_SHARED("reference/waveglow/tiny");
  const auto speak = [&](const std::string& folder, const std::string& file) {
    const auto tiny = shared("reference/waveglow/tiny"), at = shared("reference/waveglow") / folder;
    std::vector<float> z;  // the forward pass emits first what the reference draws last
    int64_t groups = 0;
    for (const char* name : {"z_2.npy", "z_1.npy", "z_0.npy"}) {
      const auto part = files::read_npy(at / name);
      groups = part.shape.back();
      z.insert(z.end(), part.values.begin(), part.values.end());
    }
    files::write_npy(path("z.npy"), std::vector<int64_t>{8, groups}, z, AtomicFile::Existing::replace);
    const auto result = run({"synth", (tiny / "mel.npy").string(), "--voice", (at / file).string(), "--z",
                             path("z.npy"), "--sigma", "0.8", "-o", path("x.npy"), "--force"});
    EXPECT_EQ(result.code, 0) << result.err;
    const auto got = files::read_npy(path("x.npy")).values;
    const auto want = files::read_npy(at / "audio_expected.npy").values;
    EXPECT_EQ(got.size(), want.size());
    double error = 0, peak = 0;
    for (size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
      error = std::max<double>(error, std::abs(got[i] - want[i]));
      peak = std::max<double>(peak, std::abs(want[i]));
    }
    return error / peak;
  };
  EXPECT_LT(speak("tiny", "nvidia_module_legacy.pt"), 1e-5);
  EXPECT_LT(speak("tiny", "joc_ddp_legacy.pt"), 1e-5);
  EXPECT_LT(speak("tiny_2018", "nvidia_module_legacy.pt"), 1e-5);
}

TEST_F(Foreign, TrainingBeginsWithAConvertedVoiceAndGoesOn) {
  std::filesystem::create_directories(path("data"));
  for (const char* name : {"a.wav", "b.wav"}) {
    std::filesystem::copy_file(in_tree("data/golden/LJ001-0002.wav"), folder_ / "data" / name);
  }
  ASSERT_EQ(run({"convert", smallest("nemo"), "-o", path("v.safetensors"), "--set", "f_max=7000"}).code, 0);
  std::vector<std::string> train{"train", "--data", path("data"), "--out", path("run"), "--threads", "1"};
  const auto with = [&](const std::vector<std::string>& more) {
    auto all = train;
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  };
  const auto begun = with({"--init", path("v.safetensors"), "--set", "steps=1", "batch_size=1", "segment_frames=64",
                           "sample_every=0", "validation_every=0", "ema=0"});
  ASSERT_EQ(begun.code, 0) << begun.err;
  const auto config = json::parse(text_of(path("run/config.json")));
  EXPECT_EQ(config["mel"]["f_max"], 7000);
  EXPECT_EQ(config["train"]["level"], 0);
  const files::CheckpointFile before(path("v.safetensors")), after(path("run/voice.safetensors"));
  ASSERT_EQ(before.content().tensors.size(), after.content().tensors.size());
  files::Arrays made;
  for (const auto& [key, tensor] : before.content().tensors) {
    const auto a = files::as_float32(files::in_c_order(tensor, made), key);
    const auto b = files::as_float32(files::in_c_order(after.content().tensors.at(key), made), key);
    for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 0.01) << key;  // one step away, not a new beginning
  }
  const auto resumed = with({"--resume", "--set", "steps=2"});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("going on at step 1"), std::string::npos) << resumed.err;
}

TEST_F(Foreign, AMelSoundsTheSameFromEveryKindOfFile) {
  const auto npy = files::npy_bytes(std::vector<int64_t>{80, 2}, std::vector<float>(160, -4.0f));
  const std::string array(reinterpret_cast<const char*>(npy.data()), npy.size());
  const auto numbers = testing::floats(std::vector<float>(160, -4.0f));
  // NVIDIA's tools save [1, 80, frames].
  const auto tensor = testing::pickled_tensor({.count = 160, .shape = {1, 80, 2}, .strides = {160, 2, 1}});
  const std::map<std::string, std::string> files{{"m.npy", array},
                                                 {"one.npz", testing::zip({{"arr_0.npy", array}})},
                                                 {"m.npz", testing::zip({{"mel.npy", array, true}, {"x.npy", array}})},
                                                 {"m.pt", testing::pytorch_zip(tensor, {{"0", numbers}})}};
  std::string first;
  for (const auto& [name, content] : files) {
    testing::put(path(name), content);
    const auto result = run({"synth", path(name), "-o", "-", "--raw"});
    ASSERT_EQ(result.code, 0) << name << ": " << result.err;
    if (first.empty()) first = result.out;
    EXPECT_EQ(result.out.size(), 2 * 256 * sizeof(int16_t)) << name;
    EXPECT_TRUE(result.out == first) << name;
  }
  EXPECT_EQ(run({"synth", smallest("strided"), "-o", path("x.npy")}).code, 65);  // [3, 3] is no mel of 80 bands
}

TEST_F(Foreign, TheMelOfNvidiasTacotronIsRead) {
  REQUIRE_SHARED("data/refs");
  const auto mel = shared("data/refs/deeplearningexamples_bsd/data/mel.pt").string();  // [1, 80, 780]
  const auto result = run({"synth", mel, "-o", path("x.npy")});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(files::read_npy(path("x.npy")).shape, std::vector<int64_t>{780 * 256});
}

TEST_F(Foreign, EveryHostileFileIsRefusedAndNothingInItRuns) {
  REQUIRE_SHARED("reference/hostile_checkpoints");
  for (const auto& entry : std::filesystem::directory_iterator(shared("reference/hostile_checkpoints"))) {
    const auto file = entry.path().string();
    for (const auto& arguments : std::vector<std::vector<std::string>>{
             {"convert", file, "-o", path("x.safetensors")},
             {"synth", in_tree("data/samples/sentence.npy").string(), "--voice", file, "-o", path("x.wav")}}) {
      const auto result = run(arguments);
      EXPECT_EQ(result.code, 65) << file << ": " << result.err;
      EXPECT_NE(result.err.find(file), std::string::npos) << result.err;
      EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
    }
    EXPECT_FALSE(std::filesystem::exists(path("x.safetensors")) || std::filesystem::exists(path("x.wav")));
  }
  EXPECT_FALSE(std::filesystem::exists("canary_pickle_ran"));
  EXPECT_FALSE(std::filesystem::exists(path("canary_pickle_ran")));
}

TEST_F(Foreign, InspectSaysWhatWouldBeRefusedAndWhy) {
  REQUIRE_SHARED("reference/hostile_checkpoints");
  const auto hostile = run({"inspect", shared("reference/hostile_checkpoints/os_system_zip.pt").string(), "--json"});
  EXPECT_EQ(hostile.code, 65);
  const auto out = json::parse(hostile.out);
  EXPECT_EQ(out["container"], "PyTorch zip");
  EXPECT_NE(out["refused"].get<std::string>().find(".system'"), std::string::npos) << out;
}

TEST_F(Foreign, AFileOfFullSizeIsConvertedInLittleMoreMemoryThanItHas) {
  if (std::filesystem::space(folder_.path()).available < (uintmax_t{3} << 30)) GTEST_SKIP() << "needs 3 GB of disk";
  testing::ModulePickle::write(path("full.pt"), 256);
  const auto bytes = static_cast<double>(std::filesystem::file_size(path("full.pt")));
  EXPECT_GT(bytes, 640e6);
  const auto seconds = [](const auto& work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  const std::string copy = "cp " + path("full.pt") + " " + path("copy.pt");
  const double copied = seconds([&] { EXPECT_EQ(std::system(copy.c_str()), 0); });
  rusage usage{};
  int status = -1;
  const double converted = seconds([&] {
    wait4(program_.start({"convert", path("full.pt"), "-o", path("v.safetensors"), "--json"}), &status, 0, &usage);
  });
  ASSERT_EQ(status, 0) << text_of(path("stderr"));
  const auto out = json::parse(text_of(path("stdout")));
  EXPECT_EQ(out["parameters"], 87879272);  // what the paper's model has
  EXPECT_EQ(out["model"]["wavenet_channels"], 256);
  const double peak = static_cast<double>(usage.ru_maxrss) * 1024;
  EXPECT_LT(peak, 1.2 * bytes);
  std::printf("%.0f MB: converted in %.2f times the time of cp, with %.2f times its size in memory\n", bytes / 1e6,
              converted / copied, peak / bytes);
}

}  // namespace
}  // namespace melflow
