#include "engine/files/mel_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>
#include <set>

#include "engine/files/npy.h"
#include "engine/files/safetensors.h"
#include "tests/files/bytes.h"
#include "tests/files/checkpoints.h"
#include "tests/support/shared.h"

namespace melflow::files {
namespace {

using testing::bytes_of;
using testing::expect_refused;
using testing::TempDir;
constexpr auto kRefuse = AtomicFile::Existing::refuse;

audio::Mel small_mel() {
  audio::MelOptions recipe;
  recipe.n_mels = 2;
  recipe.hop_length = 300;
  recipe.f_max = 7600.125;
  recipe.log_floor = 1e-7 / 3;
  recipe.norm = audio::MelNorm::none;
  recipe.centre = false;
  return {2, 3, {0, -1, -2, -3, -4, -11.5f}, recipe};
}
std::string npy(const std::vector<int64_t>& shape, float value = -1) {
  size_t count = 1;
  for (const int64_t extent : shape) count *= static_cast<size_t>(extent);
  return testing::text_of(npy_bytes(shape, std::vector<float>(count, value)));
}
void expect_bad(const std::string& file, const std::string& what, int expected_mels = 0) {
  expect_refused([&] { parse_mel(bytes_of(file), "in.mel", expected_mels); }, Exit::bad_data, "in.mel", what);
}
std::string safetensors(const std::string& name, Dtype dtype, const std::string& data, const std::string& recipe = "") {
  const TempDir folder;
  std::map<std::string, std::string> metadata;
  if (!recipe.empty()) metadata["mel_recipe"] = recipe;
  const auto frames = static_cast<int64_t>(data.size() / size_of(dtype) / 2);
  write_safetensors(folder / "a", {{name, {dtype, {2, frames}, bytes_of(data)}}}, metadata, kRefuse);
  return testing::contents(folder / "a");
}

TEST(MelFile, SafetensorsCarryTheRecipe) {
  const TempDir folder;
  const audio::Mel mel = small_mel();
  write_mel(folder / "a.safetensors", mel, kRefuse);
  const audio::Mel read = read_mel(folder / "a.safetensors", 2);
  EXPECT_EQ(read.n_mels, 2);
  EXPECT_EQ(read.frames, 3);
  EXPECT_EQ(read.values, mel.values);
  ASSERT_TRUE(read.recipe.has_value());
  EXPECT_EQ(audio::first_difference(*read.recipe, *mel.recipe), "");
  EXPECT_EQ(*read.recipe, *mel.recipe);
}

TEST(MelFile, NpyHasNoRecipe) {
  const TempDir folder;
  write_mel(folder / "a.npy", small_mel(), kRefuse);
  const audio::Mel read = read_mel(folder / "a.npy");
  EXPECT_EQ(read.values, small_mel().values);
  EXPECT_FALSE(read.recipe.has_value());
}

TEST(MelFile, TheKindIsToldByTheContent) {
  const TempDir folder;
  write_mel(folder / "a.safetensors", small_mel(), kRefuse);
  std::filesystem::rename(folder / "a.safetensors", folder / "b.npy");
  EXPECT_TRUE(read_mel(folder / "b.npy").recipe.has_value());
  expect_bad("RIFF1234WAVEfmt ", "neither");
  expect_bad("x", "neither");
  expect_bad("", "neither");
}

// The length of its header comes first, and may read like the start of a pickle (0x80) or of a zip file ("PK").
TEST(MelFile, ASafetensorsFileIsOneWhateverItsHeadersLengthReadsLike) {
  const TempDir folder;
  const auto recipe = small_mel();
  const auto write = [&](size_t padding) {
    write_safetensors(folder / "a", {{"mel", {Dtype::f32, {2, 3}, std::as_bytes(std::span(recipe.values))}}},
                      {{"note", std::string(padding, 'x')}}, AtomicFile::Existing::replace);
    return testing::contents(folder / "a");
  };
  std::set<std::string> starts;
  for (const size_t padding : {size_t{0}, size_t{20000}}) {
    for (size_t more = 0; more < 264; more += 8) {
      auto file = write(padding + more);
      starts.insert(file.substr(0, 1));
      EXPECT_EQ(parse_mel(bytes_of(file), "in.mel").values, recipe.values) << padding + more;
    }
  }
  EXPECT_TRUE(starts.contains("\x80"));
  uint16_t base = 0;
  std::memcpy(&base, write(0).data(), sizeof base);
  const auto zip = write(0x4b50 - base);  // all lengths are multiples of eight
  EXPECT_EQ(zip.substr(0, 2), "PK");
  EXPECT_EQ(parse_mel(bytes_of(zip), "in.mel").values, recipe.values);
}

TEST(MelFile, OtherNamesAreAUsageError) {
  const TempDir folder;
  expect_refused([&] { write_mel(folder / "a.mel", small_mel(), kRefuse); }, Exit::usage, "a.mel", ".npy");
  EXPECT_FALSE(std::filesystem::exists(folder / "a.mel"));
}

TEST(MelFile, ABatchOfOneIsAMel) {
  EXPECT_EQ(parse_mel(bytes_of(npy({1, 4, 5})), "x").frames, 5);
  expect_bad(npy({2, 4, 5}), "no mel");
  expect_bad(npy({4}), "no mel");
  expect_bad(npy({}), "no mel");
  expect_bad(npy({1, 1, 4, 5}), "no mel");
}

TEST(MelFile, ATransposedArrayIsSaidToBeOne) {
  expect_bad(npy({300, 80}), "transposed", 80);
  expect_bad(npy({5000, 80}), "transposed");
  expect_bad(npy({100, 300}), "100 mels, and 80 are needed", 80);
  EXPECT_EQ(parse_mel(bytes_of(npy({80, 80})), "x", 80).frames, 80);
  EXPECT_EQ(parse_mel(bytes_of(npy({80, 300})), "x", 80).frames, 300);
}

TEST(MelFile, SizesHaveLimits) {
  expect_bad(npy({0, 5}), "empty");
  expect_bad(npy({5, 0}), "empty");
  expect_bad(npy({4097, 4097}), "more than 4096");
  expect_bad(npy({1, (1 << 20) + 1}), "more than 2^20");
  EXPECT_EQ(parse_mel(bytes_of(npy({1, 1 << 20})), "x").frames, 1 << 20);
}

TEST(MelFile, NaNAndInfinityAreBadDataAndTheirPlaceIsNamed) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float value : {kInfinity, -kInfinity}) expect_bad(npy({2, 2}, value), "infinity at mel 0, frame 0");
  std::vector<float> values(6, 0.0f);
  values[5] = std::numeric_limits<float>::quiet_NaN();
  expect_bad(testing::text_of(npy_bytes(std::vector<int64_t>{2, 3}, values)), "NaN at mel 1, frame 2");
}

TEST(MelFile, TheTensorIsCalledMelAndHoldsRealNumbers) {
  const std::string data(16, '\0');
  EXPECT_EQ(parse_mel(bytes_of(safetensors("mel", Dtype::f32, data)), "x").frames, 2);
  EXPECT_EQ(parse_mel(bytes_of(safetensors("mel", Dtype::f16, data)), "x").frames, 4);
  EXPECT_EQ(parse_mel(bytes_of(safetensors("mel", Dtype::f64, data)), "x").frames, 1);
  expect_bad(safetensors("mel", Dtype::i32, data), "I32");
  expect_bad(safetensors("weight", Dtype::f32, data), "'weight'");
}

TEST(MelFile, ARecipeGoesThroughJsonExactly) {
  for (const std::string name : {"waveglow", "hifigan"}) {
    const audio::MelOptions recipe = audio::mel_recipe(name);
    EXPECT_EQ(recipe_from_json(recipe_as_json(recipe), "x"), recipe) << name;
  }
  const audio::MelOptions odd = *small_mel().recipe;
  const std::string json = recipe_as_json(odd);
  EXPECT_EQ(recipe_from_json(json, "x"), odd);
  EXPECT_NE(json.find("\"hop_length\":300"), std::string::npos) << json;
  EXPECT_NE(json.find("\"norm\":\"none\""), std::string::npos) << json;
}

TEST(MelFile, AWrongRecipeNamesTheField) {
  const std::string good = recipe_as_json(audio::MelOptions{});
  const auto expect_wrong = [&](const std::string& json, const std::string& what) {
    expect_refused([&] { recipe_from_json(json, "in.mel"); }, Exit::bad_data, "in.mel", what);
  };
  const auto without_end = [&](const std::string& more) { return good.substr(0, good.size() - 1) + more; };
  expect_wrong("{}", "missing");
  expect_wrong("{\"sample_rate\":22050}", "n_fft is missing");
  expect_wrong(without_end(",\"colour\":1}"), "colour");
  expect_wrong(without_end(",\"n_fft\":1024}"), "twice");
  expect_wrong(without_end(",\"x\":{}}"), "object within");
  expect_wrong(without_end(",\"x\":[]}"), "list");
  expect_wrong(without_end(",\"x\":null}"), "null");
  expect_wrong(without_end(""), "not JSON");
  expect_wrong("7", "not an object");
  expect_wrong("\"text\"", "not an object");
  expect_wrong(std::string(1'000'000, '['), "list");
  std::string bad = good;
  bad.replace(bad.find("1024"), 4, "-4");
  expect_wrong(bad, "n_fft");
}

TEST(MelFile, TheRecipeMustFitTheArray) {
  const std::string data(16, '\0');
  expect_bad(safetensors("mel", Dtype::f32, data, recipe_as_json({})), "80 mels, its array has 2");
  expect_bad(safetensors("mel", Dtype::f32, data, "{"), "not JSON");
}

TEST(MelFile, DamageInANumPyArchiveIsFoundByItsChecksum) {
  for (const bool deflated : {false, true}) {
    auto archive = testing::zip({{"mel.npy", npy({2, 3}, -1.5f), deflated}});
    EXPECT_EQ(parse_mel(bytes_of(archive), "in.mel").values, std::vector<float>(6, -1.5f));
    const auto sum = archive.find("PK\1\2") + 16;  // of the member, in the directory
    archive[sum] = static_cast<char>(archive[sum] ^ 1);
    expect_bad(archive, "checksum");
  }
}

TEST(MelFile, NoDamageCrashesIt) {
  const TempDir folder;
  write_mel(folder / "a.safetensors", small_mel(), kRefuse);
  const auto parse_mutant = [](const std::string& mutant) { parse_mel(bytes_of(mutant), "mutant"); };
  EXPECT_GT(testing::refused_mutants(testing::contents(folder / "a.safetensors"), 10000, parse_mutant), 5000);
  EXPECT_GT(testing::refused_mutants(npy({2, 3}), 10000, parse_mutant), 5000);
}

}  // namespace
}  // namespace melflow::files
