#include "base/atomic_file.h"

#include <grp.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/support/refusal.h"
#include "tests/support/shared.h"

namespace melflow {
namespace {

using melflow::testing::TempDir;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

size_t files_in(const TempDir& dir) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(dir.path()), {}));
}

Exit code_of(const auto& call) { return testing::refusal_of(call).code; }

TEST(AtomicFile, AppearsUnderItsNameOnlyWhenWhole) {
  const TempDir dir;
  const auto path = dir / "out.bin";
  AtomicFile file(path, AtomicFile::Existing::refuse);
  file.write(bytes_of("first, "));
  EXPECT_FALSE(std::filesystem::exists(path));
  file.write(bytes_of("second"));
  file.write({});
  file.commit();
  EXPECT_EQ(content(path), "first, second");
  EXPECT_EQ(files_in(dir), 1u);
}

TEST(AtomicFile, LeavesNothingWhenItIsGivenUp) {
  const TempDir dir;
  {
    AtomicFile file(dir / "out.bin", AtomicFile::Existing::refuse);
    file.write(bytes_of("half"));
    EXPECT_EQ(files_in(dir), 1u);
  }
  EXPECT_EQ(files_in(dir), 0u);
}

TEST(AtomicFile, LeavesNothingWhereASignalEndsTheProcess) {
  const TempDir dir;
  const auto child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    AtomicFile done(dir / "done", AtomicFile::Existing::refuse), half(dir / "half", AtomicFile::Existing::refuse);
    done.commit();
    half.write(bytes_of("half"));
    AtomicFile::abandon_all();
    ::_exit(files_in(dir) == 1 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(std::filesystem::exists(dir / "done"));
}

TEST(AtomicFile, MayWaitClosedForItsName) {
  const TempDir dir;
  {
    AtomicFile kept(dir / "kept", AtomicFile::Existing::refuse), left(dir / "left", AtomicFile::Existing::refuse);
    for (auto* file : {&kept, &left}) {
      file->write(bytes_of("whole"));
      file->close();
      EXPECT_LT(file->descriptor(), 0);
    }
    EXPECT_FALSE(std::filesystem::exists(dir / "kept"));
    kept.commit();
  }
  EXPECT_EQ(content(dir / "kept"), "whole");
  EXPECT_EQ(files_in(dir), 1u);
}

TEST(AtomicFile, RefusesAnExistingNameUnlessToldToReplace) {
  const TempDir dir;
  const auto path = dir / "out.bin";
  std::ofstream(path) << "old";
  EXPECT_EQ(code_of([&] { AtomicFile(path, AtomicFile::Existing::refuse); }), Exit::cannot_create);
  EXPECT_EQ(content(path), "old");
  AtomicFile file(path, AtomicFile::Existing::replace);
  file.write(bytes_of("new"));
  EXPECT_EQ(content(path), "old");
  file.commit();
  EXPECT_EQ(content(path), "new");
  EXPECT_EQ(files_in(dir), 1u);
}

TEST(AtomicFile, ReplacesWhatALinkLeadsToAndNotTheLink) {
  const TempDir dir;
  std::filesystem::create_directory(dir / "disk");
  write_file(dir / "disk/real.bin", bytes_of("old"), AtomicFile::Existing::refuse);
  std::filesystem::create_symlink("disk/real.bin", dir / "link.bin");
  write_file(dir / "link.bin", bytes_of("new"), AtomicFile::Existing::replace);
  EXPECT_TRUE(std::filesystem::is_symlink(dir / "link.bin"));
  EXPECT_EQ(content(dir / "disk/real.bin"), "new");
}

TEST(AtomicFile, KeepsAFileThatAppearedMeanwhile) {
  const TempDir dir;
  const auto path = dir / "out.bin";
  {
    AtomicFile file(path, AtomicFile::Existing::refuse);
    file.write(bytes_of("ours"));
    std::ofstream(path) << "theirs";
    EXPECT_EQ(code_of([&] { file.commit(); }), Exit::cannot_create);
  }
  EXPECT_EQ(content(path), "theirs");
  EXPECT_EQ(files_in(dir), 1u);
}

TEST(AtomicFile, NamesTheFileAndWhatToDo) {
  const TempDir dir;
  const auto path = dir / "out.bin";
  std::ofstream(path) << "old";
  const auto refusal = testing::refusal_of([&] { AtomicFile(path, AtomicFile::Existing::refuse); });
  EXPECT_EQ(refusal.message, path.string() + ": exists already; give --force to replace it");
}

TEST(AtomicFile, RefusesFoldersDevicesAndMissingFolders) {
  const TempDir dir;
  const auto replace = AtomicFile::Existing::replace;
  std::filesystem::create_directory(dir / "folder");
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(code_of([&] { AtomicFile(dir / "folder", replace); }), Exit::cannot_create);
  EXPECT_EQ(code_of([&] { AtomicFile(dir / "folder/", replace); }), Exit::cannot_create);
  EXPECT_EQ(code_of([&] { AtomicFile(dir / "pipe", replace); }), Exit::cannot_create);
  EXPECT_EQ(code_of([&] { AtomicFile("/dev/null", replace); }), Exit::cannot_create);
  EXPECT_EQ(code_of([&] { AtomicFile(dir / "missing/out.bin", replace); }), Exit::cannot_create);
  EXPECT_EQ(code_of([&] { AtomicFile("/proc/out.bin", replace); }), Exit::cannot_create);
  EXPECT_EQ(files_in(dir), 2u);
}

TEST(AtomicFile, TakesTheLongestNameThatTheFileSystemTakes) {
  const TempDir dir;
  const auto path = dir / std::string(255, 'n');
  AtomicFile file(path, AtomicFile::Existing::refuse);
  file.commit();
  EXPECT_TRUE(std::filesystem::exists(path));
}

/// Where the new file cannot have the group of the one it replaces, another group may not do what that one might.
TEST(AtomicFile, GivesNoOtherGroupTheRightsOfTheOneItReplaces) {
  constexpr unsigned kUser = 65534, kGroup = 65533;
  constexpr int kCannotTry = 99;
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make a file of a group that is not its own";
  const TempDir dir;
  const auto path = dir / "out.bin";
  std::ofstream(path) << "old";
  if (::chown(path.c_str(), kUser, kGroup) != 0 || ::chown(dir.path().c_str(), kUser, kUser) != 0)
    GTEST_SKIP() << "this root may not give files away";
  ASSERT_EQ(::chmod(path.c_str(), 0664), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool dropped = ::setgroups(0, nullptr) == 0 && ::setgid(kUser) == 0 && ::setuid(kUser) == 0;
    if (!dropped || ::access(dir.path().c_str(), W_OK | X_OK) != 0) ::_exit(kCannotTry);
    ::_exit(static_cast<int>(code_of([&] { write_file(path, bytes_of("new"), AtomicFile::Existing::replace); })));
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kCannotTry) GTEST_SKIP() << "no other user reaches the folder";
  ASSERT_EQ(status, 0);
  EXPECT_EQ(content(path), "new");
  struct stat replaced {};
  ASSERT_EQ(::stat(path.c_str(), &replaced), 0);
  EXPECT_EQ(replaced.st_gid, kUser);
  EXPECT_EQ(replaced.st_mode & 0777, 0604u);
}

// A limit on the size of files stands in for a full disk; it holds for a whole process, so a child takes it.
TEST(AtomicFile, SaysSoAndLeavesNothingWhereTheDiskIsFull) {
  const TempDir dir;
  const auto path = dir / "out.bin";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_file(path, std::vector<std::byte>(5000), AtomicFile::Existing::refuse);
    } catch (const Error& error) {
      const bool says_what_to_do = std::string(error.what()).find("make room") != std::string::npos;
      ::_exit(says_what_to_do ? static_cast<int>(error.code()) : 1);
    }
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), static_cast<int>(Exit::io_error));
  EXPECT_EQ(files_in(dir), 0u);
}

}  // namespace
}  // namespace melflow
