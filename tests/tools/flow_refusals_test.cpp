// `melflow flow` where it says no.

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>

#include "engine/files/npy.h"
#include "tests/tools/flow_cli_fixture.h"

namespace melflow {
namespace {

using melflow::testing::FlowCli;

TEST_F(FlowCli, WhatMakesNoSenseIsToldInOneLine) {
  std::ofstream(path("bad.csv")) << "1,2\n3,oops\n";
  const auto code = [&](const std::vector<std::string>& arguments) {
    const auto result = run(arguments);
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    return result.code;
  };
  EXPECT_EQ(code({"trian"}), 64);
  EXPECT_EQ(code(training("banana", {"--flow", "mafia"})), 64);
  EXPECT_EQ(code(training("bananas", {"--flow", "maf"})), 66);
  EXPECT_EQ(code(training(path("bad.csv"), {"--flow", "maf"})), 65);
  EXPECT_EQ(code(training("banana", {"--flow", "maf", "--set", "stepz=3"})), 78);
  EXPECT_EQ(code(training("banana", {"--flow", "maf", "--set", "model.hiden=3"})), 78);
  EXPECT_EQ(code(training("banana", {"--flow", "maf", "--conditional"})), 78);
  std::ofstream(path("rows.csv")) << "1,2,3,4\n5,6,7,8\n";
  EXPECT_EQ(code(training(path("rows.csv"), {"--flow", "maf", "--set", "data.height=2"})), 78);
  EXPECT_EQ(code({"eval", "--flow", path("bad.csv"), "--data", "banana"}), 65);
  EXPECT_EQ(code({"eval", "--flow", path("none"), "--data", "banana"}), 66);
  EXPECT_EQ(code({"plot", "--kind", "grid", "--temperature", "0.5", "--flow", path("f"), "-o", path("p.png")}), 64);
  std::ofstream(path("three.csv")) << "1,2,3\n4,5,6\n7,8,10\n";
  std::ofstream(path("tiny.csv")) << "1e-42,2e-42\n3e-42,1e-42\n2e-42,5e-42\n1e-42,1e-42\n";
  const auto trained = run(training("banana", {"--flow", "maf", "--set", "steps=2"}));
  ASSERT_EQ(trained.code, 0) << trained.err;
  const auto flow = path("run/flow.safetensors");
  for (const char* kind : {"samples", "grid"}) {
    EXPECT_EQ(code({"plot", "--kind", kind, "--flow", flow, "--data", path("three.csv"), "-o", path("p.png")}), 65);
  }
  EXPECT_EQ(code({"sample", "--flow", flow, "-o", path("s.npy"), "--labels-output", path("./s.npy")}), 64);
  EXPECT_FALSE(std::filesystem::exists(path("s.npy")));
  EXPECT_EQ(code({"sample", "--labels", "x", "--flow", path("f"), "-o", path("x.npy")}), 64);
  EXPECT_EQ(code({"sample", "--flow", flow, "-o", path("s.npy"), "--columns", "3"}), 64);
  EXPECT_EQ(code({"eval", "--flow", flow, "--data", path("tiny.csv"), "--count", "5"}), 64);
}

TEST_F(FlowCli, DataThatIsNoDataIsToldAsWhatItIs) {
  const auto refusal = [&](const std::string& data, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{"--flow", "real_nvp", "--set", "steps=2"};
    arguments.insert(arguments.begin(), more.begin(), more.end());
    const auto result = run(training(data, arguments));
    EXPECT_NE(result.code, 0);
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    return result.err;
  };
  std::ofstream(path("z.npz")) << "PK\3\4 and so on";
  EXPECT_NE(refusal(path("z.npz")).find("zip archive"), std::string::npos);
  const int64_t last[] = {10, 8, 8, 3}, rows[] = {3, 2};
  files::write_npy(path("last.npy"), last, std::vector<float>(10 * 8 * 8 * 3), AtomicFile::Existing::refuse);
  EXPECT_NE(refusal(path("last.npy")).find("channels last"), std::string::npos);
  files::write_npy(path("nan.npy"), rows, std::vector<float>{1, 2, 3, NAN, 5, 6}, AtomicFile::Existing::refuse);
  EXPECT_NE(refusal(path("nan.npy")).find("row 2, column 2 holds NaN"), std::string::npos);
  files::write_npy(path("rows.npy"), rows, std::vector<float>{1, 2, 3, -4, 5, 6}, AtomicFile::Existing::refuse);
  EXPECT_NE(refusal(path("rows.npy"), {"--labels", "x", "--label-column", "last"}).find("give one"), std::string::npos);
  EXPECT_NE(refusal("banana", {"--labels", path("rows.npy")}).find("no labels"), std::string::npos);
  files::write_npy(path("gaps.npy"), rows, std::vector<float>{1, 0, 3, 2, 5, 2}, AtomicFile::Existing::refuse);
  EXPECT_NE(refusal(path("gaps.npy"), {"--label-column", "last", "--conditional"}).find("nothing has label 1"),
            std::string::npos);
  files::write_npy(path("two.npy"), rows, std::vector<float>{1, 0, 3, 1, 5, 0}, AtomicFile::Existing::refuse);
  EXPECT_NE(refusal(path("two.npy"), {"--label-column", "last", "--conditional", "--set", "hold_out=0.67"})
                .find("is kept out for validation"),
            std::string::npos);
  const int64_t three[] = {3};
  files::write_npy(path("l.npy"), three, std::vector<float>{0, 1, 0}, AtomicFile::Existing::refuse);
  EXPECT_NE(refusal(path("rows.npy"), {"--labels", path("l.npy")}).find("without --conditional"), std::string::npos);
  const auto logit = run(training(path("rows.npy"), {"--flow", "maf", "--set", "steps=2", "model.preprocess=logit"}));
  EXPECT_EQ(logit.code, 78) << logit.err;
  EXPECT_NE(logit.err.find("preprocess=logit"), std::string::npos) << logit.err;
}

TEST_F(FlowCli, AFileForValidationIsCalledByItsName) {
  std::ofstream(path("a.csv")) << "1,2,0\n2,1,1\n3,5,0\n4,2,1\n";
  std::ofstream(path("more.csv")) << "1,2,0\n2,1,2\n";
  std::ofstream(path("wide.csv")) << "1,2,0,1\n";
  const auto refused = [&](const std::string& file, std::vector<std::string> more, int code, const std::string& why) {
    std::vector<std::string> words{"--flow", "maf", "--validation", path(file), "--set", "steps=2", "batch_size=2"};
    words.insert(words.end(), more.begin(), more.end());
    const auto result = run(training(path("a.csv"), words));
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_NE(result.err.find(why), std::string::npos) << result.err;
  };
  refused("none.csv", {}, 66, "none.csv: no such file");
  refused("wide.csv", {}, 65, "wide.csv: its items are of another size");
  refused("more.csv", {"--label-column=last", "--conditional"}, 65, "more.csv: label 2 is none");
  refused("more.csv", {"hold_out=0.1"}, 78, "leave one out");
  refused("more.csv", {"--labels=l.csv", "--conditional"}, 78, "--label-column");
  std::ofstream(path("pixels.csv")) << "1,2,300,4\n";
  std::ofstream(path("images.csv")) << "1,2,3,4\n4,3,2,1\n";
  const auto pixels = run(training(path("images.csv"), {"--flow", "glow", "--validation", path("pixels.csv"), "--set",
                                                        "data.height=2", "data.width=2", "model.levels=1", "steps=1"}));
  EXPECT_EQ(pixels.code, 65) << pixels.err;
  EXPECT_NE(pixels.err.find("pixels.csv: pixels must be"), std::string::npos) << pixels.err;

  const auto counted =
      run(training(path("a.csv"), {"--flow", "maf", "--validation", path("a.csv"), "--set", "steps=2"}));
  EXPECT_EQ(counted.code, 0) << counted.err;
  EXPECT_NE(counted.err.find("counts the rows: column 1"), std::string::npos) << counted.err;
  const auto checkpoint = run({"eval", "--flow", path("run/checkpoints/step-2.safetensors"), "--data", path("a.csv")});
  EXPECT_EQ(checkpoint.code, 65);
  EXPECT_NE(checkpoint.err.find("is the checkpoint of a training"), std::string::npos) << checkpoint.err;
}

TEST_F(FlowCli, SizesAndLabelsThatWouldSayNothingAreRefused) {
  const auto code = [&](const std::vector<std::string>& arguments) {
    const auto result = run(arguments);
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    return result.code;
  };
  const std::array<int64_t, 3> images{4, 8, 8};
  files::write_npy(path("images.npy"), images, std::vector<float>(256, 3), AtomicFile::Existing::refuse);
  const auto sized = [&](const std::string& data, const std::string& height, const std::string& width) {
    return code(training(data, {"--flow", "glow", "--set", "steps=1", "data.height=" + height, "data.width=" + width}));
  };
  EXPECT_EQ(sized("two_moons", "8", "8"), 64);
  EXPECT_EQ(sized(path("images.npy"), "4", "16"), 65);
  EXPECT_EQ(sized(path("images.npy"), "4294967296", "4294967296"), 78);
  files::write_npy(path("one.npy"), std::array<int64_t, 0>{}, std::array<float, 1>{NAN}, AtomicFile::Existing::refuse);
  EXPECT_EQ(code(training(path("one.npy"), {"--flow", "maf"})), 65);
  EXPECT_EQ(code(training("u2", {"--flow", "maf", "--set", "model.norm=batch_norm"})), 78);

  const auto trained = run(training(path("images.npy"), {"--flow", "glow", "--set", "steps=1", "model.steps=1"}));
  ASSERT_EQ(trained.code, 0) << trained.err;
  std::ofstream(path("labels.csv")) << "0\n1\n0\n1\n";
  EXPECT_EQ(code({"eval", "--flow", flow(), "--data", path("images.npy"), "--labels", path("labels.csv")}), 64);
  EXPECT_EQ(code({"sample", "--flow", flow(), "-n", "30000", "--columns", "1", "-o", path("s.png")}), 64);
}

}  // namespace
}  // namespace melflow
