// melflow speaks without LibTorch; what needs it is in melflow-torch, which melflow becomes.

#include "tests/tools/cli_fixture.h"

namespace melflow {
namespace {

using melflow::testing::text_of;

class TwoPrograms : public melflow::testing::CliFixture {
 protected:
  /// What a shell makes of it, stdout and stderr together.
  melflow::testing::Result shell(const std::string& command) const {
    const int status = std::system((command + " >" + path("said") + " 2>&1").c_str());
    return {WEXITSTATUS(status), text_of(path("said")), ""};
  }
};

TEST_F(TwoPrograms, TheOneThatSpeaksLoadsNoLibTorch) {
  const auto needed = shell("readelf -d " MELFLOW_PROGRAM);
  ASSERT_EQ(needed.code, 0) << needed.out;
  EXPECT_NE(needed.out.find("libsndfile"), std::string::npos) << needed.out;
  for (const char* library : {"libtorch", "libc10", "libcuda"}) {  // "c10" alone may be an address's end
    EXPECT_EQ(needed.out.find(library), std::string::npos) << needed.out;
  }
}

TEST_F(TwoPrograms, InstalledTheySpeakAndTrainWithWhatWasInstalled) {
  const auto build = std::filesystem::path(MELFLOW_PROGRAM).parent_path().parent_path().string();
  const auto installed = shell("cmake --install " + build + " --prefix " + path("usr"));
  ASSERT_EQ(installed.code, 0) << installed.out;
  const auto melflow = path("usr/bin/melflow");
  const auto voices = shell(melflow + " voices --json");
  EXPECT_NE(voices.out.find(path("usr/share/melflow/voices/kathleen.safetensors")), std::string::npos) << voices.out;
  const auto spoke = shell(melflow + " synth " + short_mel() + " -o " + path("x.wav"));
  EXPECT_EQ(spoke.code, 0) << spoke.out;
  const auto scored = shell(melflow + " score " + path("x.wav"));
  EXPECT_EQ(scored.code, 0) << scored.out;
  const auto linked = shell("readelf -d " + melflow + "-torch");
  EXPECT_EQ(linked.out.find(build), std::string::npos) << linked.out;
}

TEST_F(TwoPrograms, AloneItSpeaksAndSaysWhatItCannotDo) {
  const auto alone = path("melflow");
  std::filesystem::copy_file(MELFLOW_PROGRAM, alone);
  const auto spoke = shell(alone + " synth " + short_mel() + " -o " + path("x.wav"));
  EXPECT_EQ(spoke.code, 0) << spoke.out;
  EXPECT_EQ(shell(alone + " doctor").code, 0);
  for (const std::string command : {"score x.wav", "train --help", "synth x.npy -o y.wav --device cuda"}) {
    const auto refused = shell(alone + " " + command);
    EXPECT_EQ(refused.code, 69) << command;
    EXPECT_NE(refused.out.find(alone + "-torch"), std::string::npos) << refused.out;
    EXPECT_EQ(std::count(refused.out.begin(), refused.out.end(), '\n'), 1) << refused.out;
  }
}

TEST_F(TwoPrograms, TheOtherOneTakesArgumentsAndStreamsAsTheyAre) {
  const auto refused = run({"score", "--voice", "kathleen", path("with space.wav")});
  EXPECT_EQ(refused.code, 66) << refused.err;
  EXPECT_NE(refused.err.find("with space.wav"), std::string::npos) << refused.err;
  const auto ours = run({"synth", short_mel(), "-o", "-", "--raw"});
  const auto theirs = shell(MELFLOW_PROGRAM "-torch synth " + short_mel() + " -o " + path("x.raw"));
  EXPECT_EQ(theirs.code, 0) << theirs.out;
  EXPECT_EQ(text_of(path("x.raw")), ours.out);
}

}  // namespace
}  // namespace melflow
