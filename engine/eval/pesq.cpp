#include "engine/eval/pesq.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>

#include "audio/resample.h"
#include "audio/sound_file.h"
#include "base/error.h"

extern char** environ;

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;

constexpr int kPesqRate = 16000;

// A file of its own rather than -c: Python then looks for modules beside the script, not in the user's folder.
constexpr const char* kScript = R"py(import os, sys, wave
try:
    import numpy
    from pesq import pesq
except Exception as error:
    print("absent", str(error).replace("\n", " "))
    sys.exit(0)
print("ready", flush=True)
folder = os.path.dirname(os.path.abspath(__file__))
def samples(name):
    with wave.open(os.path.join(folder, name), "rb") as file:
        return numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32768.0
for i in range(int(sys.argv[1])):
    try:
        print("%.6f" % pesq(16000, samples("%d-a.wav" % i), samples("%d-b.wav" % i), "wb"), flush=True)
    except Exception:
        print("nan", flush=True)
)py";

std::string python() {
  const char* named = std::getenv("MELFLOW_PYTHON");
  return named != nullptr && *named != '\0' ? named : "python3";
}

/// A child process and the read end of its stdout. Destroyed early, it ends the child.
class Child {
 public:
  /// `pid` stays 0 and `error` is set where the program cannot be started.
  explicit Child(const std::vector<std::string>& arguments) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(Exit::io_error, std::string("pipe: ") + std::strerror(errno));
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    std::vector<char*> argv;
    for (const auto& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    // It is to hear the signals that are blocked here.
    posix_spawnattr_t attributes;
    sigset_t none;
    ::sigemptyset(&none);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    const int failed = ::posix_spawnp(&pid_, argv[0], &actions, &attributes, argv.data(), environ);
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    out_.reset(::fdopen(ends[0], "r"));
    if (failed != 0) {
      pid_ = 0;
      error_ = std::strerror(failed);
    }
  }
  ~Child() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGTERM);  // no child to hit where it has ended: it is not reaped yet, so the number is still its own
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  const std::string& error() const { return error_; }

  /// The next line of its stdout, without the end; false where it has ended.
  bool line(std::string& text) {
    char buffer[1024];
    if (!out_ || std::fgets(buffer, sizeof buffer, out_.get()) == nullptr) return false;
    text = buffer;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return true;
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  pid_t pid_ = 0;
  std::string error_;
  std::unique_ptr<std::FILE, Close> out_;
};

}  // namespace

PesqRun::PesqRun() {
  std::string name = (fs::temp_directory_path() / "melflow_pesq_XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw Error(Exit::cannot_create, name + ": cannot be made (" + std::strerror(errno) + "); set TMPDIR");
  }
  folder_ = name;
}

PesqRun::~PesqRun() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

void PesqRun::add(const audio::Waveform& reference, const audio::Waveform& degraded) {
  const auto write = [&](const audio::Waveform& sound, const char* part) {
    const audio::Waveform at_rate{audio::resample(sound.samples, sound.sample_rate, kPesqRate), kPesqRate};
    audio::write_audio(folder_ / (std::to_string(pairs_) + part), at_rate, audio::Encoding::pcm16,
                       AtomicFile::Existing::replace);
  };
  write(reference, "-a.wav");
  write(degraded, "-b.wav");
  ++pairs_;
}

PesqRun::Result PesqRun::finish(const std::function<bool()>& stop) {
  Result result;
  result.scores.assign(pairs_, std::numeric_limits<double>::quiet_NaN());
  const auto script = folder_ / "pesq_of_pairs.py";
  std::ofstream(script) << kScript;
  Child child({python(), script.string(), std::to_string(pairs_)});
  const std::string cure = "; install the PyPI package pesq, or set MELFLOW_PYTHON to a Python that has it";
  std::string line;
  if (!child.error().empty()) {
    result.absent = python() + ": " + child.error() + cure;
  } else if (!child.line(line) || line != "ready") {
    result.absent = python() + ": " + (line.starts_with("absent ") ? line.substr(7) : "does not run") + cure;
  }
  if (!result.absent.empty()) return result;
  size_t done = 0;
  while (done < pairs_ && !stop() && child.line(line)) result.scores[done++] = std::strtod(line.c_str(), nullptr);
  if (done < pairs_ && !stop()) result.absent = python() + ": ended before its work was done";
  return result;
}

}  // namespace melflow::engine
