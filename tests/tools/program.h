#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
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

  /// Where a stream is to be something else than a file: a pipe, a terminal. Negative: the file.
  struct Streams {
    int in = -1, out = -1, err = -1;
  };

  pid_t start(const std::vector<std::string>& arguments, const std::string& input = "") const {
    return start_with(Streams{}, arguments, input);
  }
  pid_t start_with(const Streams& streams, const std::vector<std::string>& arguments,
                   const std::string& input = "") const {
    std::ofstream(folder_ / "stdin", std::ios::binary) << input;
    const pid_t child = fork();
    if (child != 0) return child;
    if (streams.in >= 0 && isatty(streams.in)) {
      // The terminal is this program's: keys are for it, and Ctrl-C too.
      setsid();
      ioctl(streams.in, TIOCSCTTY, 0);
    }
    const auto redirect = [&](const char* name, int flags, int descriptor) {
      dup2(open((folder_ / name).c_str(), flags, 0600), descriptor);
    };
    redirect("stdin", O_RDONLY, 0);
    redirect("stdout", O_WRONLY | O_CREAT | O_TRUNC, 1);
    redirect("stderr", O_WRONLY | O_CREAT | O_TRUNC, 2);
    if (streams.in >= 0) dup2(streams.in, 0);
    if (streams.out >= 0) dup2(streams.out, 1);
    if (streams.err >= 0) dup2(streams.err, 2);
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

/// A pipe whose ends no child inherits but as its own streams.
class Pipe {
 public:
  Pipe() {
    if (pipe2(ends_, O_CLOEXEC) != 0) ends_[0] = ends_[1] = -1;
  }
  ~Pipe() {
    close_reader();
    close_writer();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int reader() const { return ends_[0]; }
  int writer() const { return ends_[1]; }
  void close_reader() { shut(ends_[0]); }
  void close_writer() { shut(ends_[1]); }
  void write(const std::string& bytes) const {
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t n = ::write(ends_[1], bytes.data() + at, bytes.size() - at);
      if (n <= 0) return;
      at += static_cast<size_t>(n);
    }
  }
  /// What comes until `bytes` are there or the writers have closed.
  std::string read(size_t bytes) const {
    std::string text;
    char block[4096];
    while (text.size() < bytes) {
      const ssize_t n = ::read(ends_[0], block, std::min(sizeof block, bytes - text.size()));
      if (n <= 0) break;
      text.append(block, static_cast<size_t>(n));
    }
    return text;
  }

 private:
  static void shut(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
  int ends_[2];
};

}  // namespace melflow::testing
