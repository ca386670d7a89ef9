#include "engine/files/mel_frames.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>

#include "engine/files/mel_file.h"
#include "engine/files/npy.h"
#include "engine/files/temporary_file.h"
#include "tests/files/bytes.h"
#include "tests/support/refusal.h"
#include "tests/support/shared.h"

namespace melflow::files {
namespace {

using testing::expect_refused;
using testing::TempDir;
constexpr auto kNewOnly = AtomicFile::Existing::refuse;

audio::MelOptions recipe_of(int n_mels) {
  audio::MelOptions recipe;
  recipe.n_mels = n_mels;
  return recipe;
}

TEST(MelFrames, AreThoseOfTheMelWhereverItLies) {
  const TempDir folder;
  const audio::Mel mel{2, 3, {0, -1, -2, -3, -4, -11.5f}, recipe_of(2)};
  write_mel(folder / "a.safetensors", mel, kNewOnly);
  write_mel(folder / "a.npy", mel, kNewOnly);
  const std::vector<float> expected{-1, -4, -2, -11.5f};  // frames 1 and 2, two bands each
  for (const MelFrames& frames :
       {MelFrames(mel), MelFrames(folder / "a.npy", 2), MelFrames(folder / "a.safetensors")}) {
    ASSERT_EQ(frames.n_mels(), 2);
    ASSERT_EQ(frames.frames(), 3);
    std::vector<float> out;
    frames.append(1, 2, out);
    EXPECT_EQ(out, expected);
  }
  EXPECT_EQ(MelFrames(folder / "a.safetensors").recipe(), mel.recipe);
}

TEST(MelFrames, RefuseWhatIsNoMelBeforeAnythingIsSpoken) {
  const TempDir folder;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  write_npy(folder / "nan.npy", std::vector<int64_t>{2, 2}, std::vector<float>{0, 0, nan, 0}, kNewOnly);
  expect_refused([&] { MelFrames(folder / "nan.npy"); }, Exit::bad_data, "nan.npy", "NaN at mel 1, frame 0");
  expect_refused([&] { MelFrames(folder / "nan.npy", 80); }, Exit::bad_data, "nan.npy", "mels");
}

/// Kilobytes of this process that lie in memory and belong to files.
size_t mapped_kilobytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == "RssFile:") return status >> word ? std::stoul(word) : 0;
  }
  return 0;
}

/// The file's pages leave the system's cache: who reads it gets them by readahead, in larger pieces than were written.
void forget(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ::fsync(file);
  ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  ::close(file);
}

TEST(MelFrames, OfALongMelStayInTheFile) {
  const TempDir folder;
  constexpr int kFrames = 200'000, kStep = 40;  // 64 MB; a page is read several times, as a stream does
  std::vector<float> values(80 * size_t{kFrames});
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 8191);
  write_mel(folder / "long.npy", {80, kFrames, values, {}}, kNewOnly);
  forget(folder / "long.npy");
  const auto before = mapped_kilobytes();
  const MelFrames frames(folder / "long.npy", 80);
  size_t most = 0;
  std::vector<float> out;
  for (int t = 0; t < kFrames; t += kStep) {
    out.clear();
    frames.append(t, kStep, out);
    ASSERT_EQ(out[80 * size_t{kStep} - 1], values[79 * size_t{kFrames} + static_cast<size_t>(t) + kStep - 1]);
    most = std::max(most, mapped_kilobytes());
  }
  EXPECT_LT(most, before + 8'000);
}

/// As many frames as are asked for, in pieces of 1,000, by a writer.
MelFrames written(const std::vector<float>& frames, int n_mels) {
  MelFramesWriter writer(recipe_of(n_mels));
  const size_t step = 1000 * static_cast<size_t>(n_mels);
  for (size_t at = 0; at < frames.size(); at += step) {
    writer.append(std::span(frames).subspan(at, std::min(step, frames.size() - at)));
  }
  return std::move(writer).finish();
}

void expect_all(const MelFrames& mel, const std::vector<float>& frames) {
  const auto bands = static_cast<size_t>(mel.n_mels());
  ASSERT_EQ(static_cast<size_t>(mel.frames()) * bands, frames.size());
  std::vector<float> out;
  for (int t = 0, count = 1; t < mel.frames(); t += count, count = std::min(3 * count + 1, mel.frames() - t)) {
    mel.append(t, count, out);
  }
  EXPECT_EQ(out, frames);
  const auto whole = mel.whole();
  ASSERT_EQ(whole.values.size(), frames.size());
  EXPECT_EQ(whole.values[0], frames[0]);
  EXPECT_EQ(whole.values.back(), frames.back());
  out.clear();
  audio::append_frames(whole, 0, whole.frames, out);
  EXPECT_EQ(out, frames);
}

std::vector<float> ramp(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 8191);
  return values;
}

TEST(MelFramesWriter, GivesBackWhatWasWritten) {
  for (const size_t frames : {1u, 999u, 1000u, 26'213u, 26'215u, 90'001u}) {
    SCOPED_TRACE(frames);
    expect_all(written(ramp(80 * frames), 80), ramp(80 * frames));
  }
}

/// A place for temporary files, for as long as this lives.
class Temporary {
 public:
  explicit Temporary(const std::string& folder) { ::setenv("TMPDIR", folder.c_str(), 1); }
  ~Temporary() { before_ ? ::setenv("TMPDIR", before_->c_str(), 1) : ::unsetenv("TMPDIR"); }

 private:
  const char* told_ = std::getenv("TMPDIR");
  std::optional<std::string> before_ = told_ != nullptr ? std::optional<std::string>(told_) : std::nullopt;
};

TEST(MelFramesWriter, LeavesNothingInTheFolderForTemporaryFiles) {
  const TempDir folder;
  const Temporary here(folder.path());
  const auto frames = ramp(80 * 60'000);
  expect_all(written(frames, 80), frames);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(MelFramesWriter, KeepsFramesInMemoryWhereNoFileCanBe) {
  const TempDir folder;
  const Temporary nowhere((folder / "is not there").string());
  EXPECT_EQ(testing::refusal_of([] { TemporaryFile(); }).code, Exit::cannot_create);
  const auto frames = ramp(80 * 60'000);
  expect_all(written(frames, 80), frames);
}

TEST(MelFramesWriter, KeepsFramesInMemoryWhereTheFileMayNotGrow) {
  const auto frames = ramp(80 * 60'000);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit some{12'000'000, before.rlim_max};  // the first piece is written, of the next one half
  setrlimit(RLIMIT_FSIZE, &some);
  const auto mel = written(frames, 80);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  expect_all(mel, frames);
}

TEST(MelFramesWriter, StopsWhereAMelWould) {
  MelFramesWriter writer(recipe_of(1));
  const auto frames = ramp(1 << 18);
  for (int i = 0; i < 4; ++i) writer.append(frames);
  const auto refusal = testing::refusal_of([&] { writer.append(std::span(frames).first(1)); });
  EXPECT_EQ(refusal.code, Exit::bad_data) << refusal.message;
}

TEST(TemporaryFile, KeepsWhatItHeldWhereItMayNotGrow) {
  TemporaryFile file;
  const std::vector<std::byte> some(600'000, std::byte{7});
  file.append(some);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit limited{1'000'000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limited);
  const auto refusal = testing::refusal_of([&] { file.append(some); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(refusal.code, Exit::io_error) << refusal.message;
  EXPECT_EQ(file.size(), some.size());
  std::vector<std::byte> there(some.size()), more(1);
  file.read(0, there);
  EXPECT_EQ(there, some);
  EXPECT_EQ(testing::refusal_of([&] { file.read(some.size(), more); }).code, Exit::io_error);
}

TEST(TemporaryFile, SaysWhereItHoldsLess) {
  TemporaryFile file;
  file.append(std::as_bytes(std::span("abc", 3)));
  EXPECT_EQ(file.size(), 3u);
  std::vector<std::byte> two(2), four(4);
  file.read(1, two);
  EXPECT_EQ(two[1], std::byte{'c'});
  EXPECT_EQ(testing::refusal_of([&] { file.read(0, four); }).code, Exit::io_error);
}

}  // namespace
}  // namespace melflow::files
