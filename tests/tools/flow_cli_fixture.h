#pragma once

#include <string>
#include <vector>

#include "tests/tools/program.h"

namespace melflow::testing {

/// A folder, and `melflow flow` in it.
class FlowCli : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  Result run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "flow");
    return program_.run(arguments);
  }
  std::vector<std::string> training(const std::string& data, const std::vector<std::string>& more) const {
    std::vector<std::string> all{"train", "--data", data, "--out", path("run"), "--threads", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string flow() const { return path("run/flow.safetensors"); }

  TempDir folder_;
  Program program_{folder_.path()};
};

}  // namespace melflow::testing
