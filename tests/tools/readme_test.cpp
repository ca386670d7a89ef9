// README's examples, as somebody types them who has just built the program.

#include <cstdlib>
#include <regex>

#include "tests/tools/program.h"

namespace melflow {
namespace {

using melflow::testing::in_tree;
using melflow::testing::TempDir;
using melflow::testing::text_of;

/// The ```sh blocks; what needs a sound device or hours stands in blocks without a language.
std::vector<std::string> examples() {
  const auto readme = text_of(in_tree("README.md"));
  std::vector<std::string> blocks;
  const std::string open = "\n```sh\n", close = "\n```";
  for (size_t at = 0; (at = readme.find(open, at)) != std::string::npos;) {
    at += open.size();
    blocks.push_back(readme.substr(at, readme.find(close, at) - at));
  }
  return blocks;
}

/// A clone's data/, and a WaveGlow as others publish them, the smallest there is.
void furnish(const TempDir& folder) {
  std::filesystem::create_directory_symlink(in_tree("data"), folder / "data");
  std::filesystem::create_symlink(in_tree("tests/fuzz/corpus/checkpoint/legacy"), folder / "waveglow.pt");
}

class Readme : public ::testing::TestWithParam<std::string> {};

TEST_P(Readme, ExampleRuns) {
  const auto& example = GetParam();
  const TempDir folder;
  furnish(folder);
  std::ofstream(folder / "example.sh") << "set -e\ncd '" << folder.path().string() << "'\n" << example << "\n";
  const auto path = std::filesystem::path(MELFLOW_PROGRAM).parent_path().string() + ":" + std::getenv("PATH");
  const auto command =
      "PATH='" + path + "' sh " + (folder / "example.sh").string() + " >" + (folder / "said").string() + " 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0) << example << "\n" << text_of(folder / "said");
  // What the example says it writes is there.
  const std::regex output("(?:-o|>) ([a-z][^ \n]*)");
  for (std::sregex_iterator it(example.begin(), example.end(), output), end; it != end; ++it) {
    EXPECT_FALSE(text_of(folder / (*it)[1].str()).empty()) << (*it)[1];
  }
}

INSTANTIATE_TEST_SUITE_P(Sh, Readme, ::testing::ValuesIn(examples()),
                         [](const auto& block) { return "Block" + std::to_string(block.index + 1); });

TEST(ReadmeBlocks, AreFive) { EXPECT_EQ(examples().size(), 5u); }

}  // namespace
}  // namespace melflow
