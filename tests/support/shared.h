#pragma once

#include <gtest/gtest.h>

#include <unistd.h>
#include <atomic>
#include <filesystem>
#include <string>

namespace melflow::testing {

/// The reference data that lies beside a checkout on the developers' machines. Tests that need it skip and say so.
inline std::filesystem::path shared(const std::string& relative) {
  return std::filesystem::path(MELFLOW_SHARED_DIR) / relative;
}
inline std::filesystem::path in_tree(const std::string& relative) {
  return std::filesystem::path(MELFLOW_SOURCE_DIR) / relative;
}

/// A folder of a test's own that goes with it.
class TempDir {
 public:
  TempDir() {
    static std::atomic<int> count{0};
    path_ = std::filesystem::temp_directory_path() /
            ("melflow_test_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace melflow::testing

#define REQUIRE_SHARED(relative)                                                          \
  if (!std::filesystem::exists(::melflow::testing::shared(relative))) {                   \
    GTEST_SKIP() << "needs ../shared/" << (relative) << ", which is not on this machine"; \
  }
