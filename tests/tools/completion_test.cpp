// What bash completes, as its completion asks for it.
#include <sstream>

#include "tests/tools/program.h"

namespace melflow {
namespace {

using melflow::testing::in_tree;
using melflow::testing::TempDir;
using melflow::testing::text_of;

/// The words that complete the last of these.
std::vector<std::string> completed(const std::string& words) {
  const TempDir folder;
  std::ofstream(folder / "ask.bash") << "source '" << in_tree("tools/completion.bash").string() << "'\n"
                                     << "COMP_WORDS=(melflow " << words << "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
                                     << "_melflow; printf '%s\\n' \"${COMPREPLY[@]}\"\n";
  const auto path = std::filesystem::path(MELFLOW_PROGRAM).parent_path().string() + ":" + std::getenv("PATH");
  const auto command = "PATH='" + path + "' MELFLOW_VOICES='" + in_tree("data/voices").string() + "' bash " +
                       (folder / "ask.bash").string() + " >" + (folder / "said").string();
  EXPECT_EQ(std::system(command.c_str()), 0);
  std::istringstream said(text_of(folder / "said"));
  std::vector<std::string> out;
  for (std::string word; said >> word;) out.push_back(word);
  return out;
}

bool holds(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

using Words = std::vector<std::string>;

TEST(Completion, KnowsVerbsAndTheVerbsOfThose) {
  EXPECT_EQ(completed("syn"), Words{"synth"});
  EXPECT_TRUE(holds(completed("''"), "train"));
  EXPECT_EQ(completed("data ''"), (Words{"check", "pack"}));
  EXPECT_EQ(completed("help syn"), Words{"synth"});
}

TEST(Completion, KnowsOptionsTheirValuesAndVoices) {
  EXPECT_EQ(completed("data check --htm"), Words{"--html"});
  EXPECT_TRUE(holds(completed("synth a.npy -"), "--sigma"));
  EXPECT_EQ(completed("mel x.wav --as ''"), (Words{"npy", "safetensors", "png"}));
  EXPECT_EQ(completed("synth --voice k"), Words{"kathleen"});
}

TEST(Completion, LeavesFilesToBash) {
  EXPECT_EQ(completed("synth sen"), Words{});
  EXPECT_EQ(completed("synth -o ''"), Words{});
  EXPECT_EQ(completed("nonsense ''"), Words{});
}

}  // namespace
}  // namespace melflow
