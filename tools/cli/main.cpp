// melflow, and melflow-torch (with_torch.h): one table of verbs, a file a verb. README lists the verbs and exit codes.

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <system_error>

#include "base/error.h"
#include "tools/cli/output.h"
#include "tools/cli/signals.h"
#include "tools/cli/verb_family.h"
#include "tools/cli/with_torch.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {
namespace {

constexpr Verb kVerbs[] = {
    {"mel", "audio to mel spectrograms", run_mel},
    {"synth", "mel spectrograms (or audio, through its mel) to sound", run_synth},
    {"play", "like synth, to a sound device", run_play},
    {"train", "train a vocoder on recordings", run_train},
    {"eval", "quality, likelihood and speed of a voice on recordings", run_eval},
    {"score", "how well recordings fit a voice, in nats per sample", run_score},
    {"convert", "published WaveGlow to a melflow voice, and back; --half, --int8: a smaller voice", run_convert},
    {"data", "recordings for training: check, pack", run_data},
    {"flow", "density estimation with normalizing flows: train, eval, sample, plot, bench", run_flow},
    {"inspect", "list what is in a file, without executing anything", run_inspect},
    {"voices", "list the voices", run_voices},
    {"devices", "list the sound devices", run_devices},
    {"doctor", "check what works on this machine, and what to do about the rest", run_doctor},
    {"bench", "speed against this machine's own limit", run_bench},
    {"version", "version and build", run_version},
};

int run(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty() && arguments[0] == "--version") arguments[0] = "version";
  return run_family({.program = "melflow",
                     .verbs = kVerbs,
                     .about = "speech and audio synthesis on normalizing flows\n\n"
                              "  melflow synth sentence.npy -o sentence.wav\n"
                              "  melflow train --data recordings/ --out run/\n"},
                    std::move(arguments));
}

/// Goes on as melflow-torch.
int become_torch_program(char** argv) {
  const auto program = torch_program();
  std::cout.flush();
  // OpenMP reads it as it starts. Its threads spin while they wait for each other: that saves a small flow's training
  // up to a quarter of its time, and makes it take ten times as long where another process wants one of the cores.
  if (std::getenv("GOMP_SPINCOUNT") == nullptr) ::setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/0);
  ::execv(program.c_str(), argv);
  std::cerr << "melflow: this needs LibTorch, which is in " << program.string()
            << ", and that cannot be started; tools/build release makes it\n";
  return static_cast<int>(Exit::unavailable);
}

/// As LibTorch's allocators say it.
bool is_out_of_memory(const std::string& text) {
  return text.find("can't allocate memory") != std::string::npos || text.find("out of memory") != std::string::npos;
}

int out_of_memory() {
  std::cerr << "melflow: out of memory; fewer or shorter items at once (batch_size, segment_frames), or a smaller "
               "model, need less\n";
  return static_cast<int>(Exit::unavailable);
}

int out_of_threads() {
  std::cerr << "melflow: the system gives no more threads; --threads 1, and train's --set data_workers=0, need fewer\n";
  return static_cast<int>(Exit::unavailable);
}

/// What was printed goes out now, or is told to be lost; to a reader that has had enough, nothing is.
void flush_stdout() {
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  const int why = errno == ENOTTY ? 0 : errno;  // what was lost before may have left its reason, isatty() another
  pollfd reader{STDOUT_FILENO, POLLOUT, 0};
  if (written || why == EPIPE || (::poll(&reader, 1, 0) > 0 && (reader.revents & (POLLERR | POLLHUP)) != 0)) return;
  throw Error(Exit::io_error, std::string("stdout: cannot be written") +
                                  (why == 0 ? "" : std::string(" (") + std::strerror(why) + ")"));
}

/// A stream that was closed from the start leaves its descriptor to the first file that is opened, which then gets what
/// is printed. So each is opened, for what nobody does with it.
void keep_streams_apart() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) < 0) ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

/// Its first line: LibTorch's errors go on with where they came from.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace
}  // namespace melflow::tools

int main(int argc, char** argv) {
  using melflow::Exit;
  melflow::tools::keep_streams_apart();
  melflow::tools::keep_memory();
  std::signal(SIGPIPE, SIG_IGN);  // a reader that leaves early is an error of write(), handled where it is written
  std::signal(SIGXFSZ, SIG_IGN);  // and so is a file that may not grow
  try {
    melflow::tools::watch_signals();
    const int result = melflow::tools::run(argc, argv);
    std::cout.flush();
    melflow::tools::flush_stdout();
    return result;
  } catch (const melflow::Error& e) {
    std::cerr << "melflow: " << e.what() << "\n";
    return static_cast<int>(e.code());
  } catch (const melflow::tools::ClosedPipe&) {
    return melflow::tools::signal_exit_code();  // | head has what it wanted
  } catch (const melflow::tools::NeedsTorch&) {
    return melflow::tools::become_torch_program(argv);
  } catch (const std::bad_alloc&) {
    return melflow::tools::out_of_memory();
  } catch (const std::system_error& e) {
    if (e.code() == std::errc::resource_unavailable_try_again) return melflow::tools::out_of_threads();
    std::cerr << "melflow: internal error: " << melflow::tools::first_line(e.what()) << "\n";
  } catch (const std::exception& e) {
    if (melflow::tools::is_out_of_memory(e.what())) return melflow::tools::out_of_memory();
    std::cerr << "melflow: internal error: " << melflow::tools::first_line(e.what()) << "\n";
  }
  return static_cast<int>(Exit::internal);
}
