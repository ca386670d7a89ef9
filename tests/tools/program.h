#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/shared.h"

namespace melflow::testing {

inline std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct Result {
  int code;
  std::string out, err;
};

/// The built program as a user runs it, with its streams in files of a folder.
class Program {
 public:
  explicit Program(const std::filesystem::path& folder) : folder_(folder) {}

  pid_t start(const std::vector<std::string>& arguments, const std::string& input = "") const {
    std::ofstream(folder_ / "stdin", std::ios::binary) << input;
    const pid_t child = fork();
    if (child != 0) return child;
    const auto redirect = [&](const char* name, int flags, int descriptor) {
      dup2(open((folder_ / name).c_str(), flags, 0600), descriptor);
    };
    redirect("stdin", O_RDONLY, 0);
    redirect("stdout", O_WRONLY | O_CREAT | O_TRUNC, 1);
    redirect("stderr", O_WRONLY | O_CREAT | O_TRUNC, 2);
    std::vector<std::string> words{MELFLOW_PROGRAM};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (auto& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    execv(MELFLOW_PROGRAM, pointers.data());
    _exit(127);
  }
  Result wait(pid_t child) const {
    int status = 0;
    waitpid(child, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status), text_of(folder_ / "stdout"),
            text_of(folder_ / "stderr")};
  }
  Result run(const std::vector<std::string>& arguments, const std::string& input = "") const {
    return wait(start(arguments, input));
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace melflow::testing
