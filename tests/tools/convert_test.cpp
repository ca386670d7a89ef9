// Voices of our own, made into others: rounded, mixed.

#include <algorithm>

#include "engine/files/mapped_file.h"
#include "engine/files/safetensors.h"
#include "tests/tools/cli_fixture.h"

namespace melflow {
namespace {

using Convert = melflow::testing::CliFixture;

TEST_F(Convert, AVoiceIsMixedWithTheOneThatItsTrainingBeganAs) {
  // As if nothing had been mixed into it yet.
  const files::SafetensorsFile shipped(testing::in_tree("data/voices/kathleen.safetensors"));
  auto unmixed = shipped.metadata();
  unmixed.erase("mixed_with");
  const auto kathleen = path("kathleen.safetensors");
  files::write_safetensors(kathleen, shipped.tensors(), unmixed, AtomicFile::Existing::refuse);
  // Of two that are alike: itself, whatever the share.
  ASSERT_EQ(
      run({"convert", kathleen, "--mix", kathleen, "--share", "0.3", "--int8", "-o", path("same.safetensors")}).code,
      0);
  ASSERT_EQ(run({"convert", kathleen, "--int8", "-o", path("rounded.safetensors")}).code, 0);
  const files::SafetensorsFile same(path("same.safetensors")), rounded(path("rounded.safetensors"));
  EXPECT_EQ(same.metadata().at("mixed_with"), "0.3 of kathleen");
  for (const auto& [key, tensor] : rounded.tensors())
    EXPECT_TRUE(std::ranges::equal(tensor.bytes, same.tensors().at(key).bytes)) << key;
  EXPECT_EQ(run({"synth", "--voice", path("same.safetensors"), short_mel(), "-o", path("x.wav")}).code, 0);

  // The other's licence holds for its share, and nothing of an earlier mix is forgotten.
  auto metadata = same.metadata();
  metadata["licence"] = "CC-BY-NC-4.0";
  files::write_safetensors(path("other.safetensors"), same.tensors(), metadata, AtomicFile::Existing::refuse);
  const auto large = run({"convert", kathleen, "--mix", path("other.safetensors"), "-o", path("twice.safetensors")});
  ASSERT_EQ(large.code, 0) << large.err;
  EXPECT_NE(large.err.find("twice as large"), std::string::npos) << large.err;
  const files::SafetensorsFile twice(path("twice.safetensors"));
  EXPECT_EQ(twice.metadata().at("licence"), "CC0-1.0; CC-BY-NC-4.0");
  EXPECT_EQ(twice.metadata().at("mixed_with"), "0.3 of kathleen; 0.5 of kathleen");

  // Who says nothing of their own is not free because the other voice is.
  metadata["licence"] = metadata["training_data"] = "";
  files::write_safetensors(path("mine.safetensors"), same.tensors(), metadata, AtomicFile::Existing::refuse);
  ASSERT_EQ(run({"convert", path("mine.safetensors"), "--mix", kathleen, "-o", path("mixed.safetensors")}).code, 0);
  const files::SafetensorsFile mixed(path("mixed.safetensors"));
  EXPECT_EQ(mixed.metadata().at("licence"), "not stated; CC0-1.0");
  EXPECT_EQ(mixed.metadata().at("training_data").find("not stated; "), 0u);

  const auto refused = [&](const std::vector<std::string>& more, int code, const std::string& why) {
    std::vector<std::string> words{"convert", kathleen, "-o", path("x.safetensors")};
    words.insert(words.end(), more.begin(), more.end());
    const auto result = run(words);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_NE(result.err.find(why), std::string::npos) << result.err;
  };
  refused({"--mix", "universal"}, 65, "its model is another");
  refused({"--share", "0.2", "--half"}, 64, "--share");
  refused({"--mix", kathleen, "--share", "1.5"}, 64, "--share");
  refused({"--mix", path("none.safetensors")}, 66, "none.safetensors");
}

TEST_F(Convert, AVoiceRoundedToBytesSpeaksAndIsRoundedOnce) {
  const auto small = path("small.safetensors"), again = path("again.safetensors");
  ASSERT_EQ(run({"convert", testing::in_tree("data/voices/kathleen.safetensors").string(), "--int8", "-o", small}).code,
            0);
  ASSERT_EQ(run({"convert", small, "--int8", "-o", again}).code, 0);
  EXPECT_TRUE(std::ranges::equal(files::MappedFile(small).bytes(), files::MappedFile(again).bytes()));
  EXPECT_EQ(run({"synth", "--voice", small, clip_, "-o", path("x.wav")}).code, 0);
  const auto both = run({"convert", small, "--int8", "--to", "nvidia-state-dict", "-o", path("x.pt")});
  EXPECT_EQ(both.code, 64);
  EXPECT_NE(both.err.find("--int8"), std::string::npos) << both.err;
}

}  // namespace
}  // namespace melflow
