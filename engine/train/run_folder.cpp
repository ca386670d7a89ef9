#include "engine/train/run_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "engine/train/launcher.h"

namespace melflow::engine {

namespace fs = std::filesystem;

/// What a run writes over, if it is let, and whether something can be done with it.
constexpr std::pair<const char*, bool> kOfARun[] = {{"checkpoints", true},
                                                    {"voice.safetensors", true},
                                                    {"flow.safetensors", true},
                                                    {"config.json", false},
                                                    {"metrics.jsonl", false}};

namespace {

/// A run of ours that died before it had anything to go on with may begin again: there only what is worth something
/// is in the way.
void require_none(const fs::path& path, bool begun) {
  std::error_code error;
  for (const auto& [name, is_worth_something] : kOfARun) {
    if ((is_worth_something || !begun) && fs::exists(path / name, error)) {
      throw Error(Exit::cannot_create,
                  path.string() + ": holds " + name + " already; go on with --resume, or name another folder");
    }
  }
}

}  // namespace

void RunFolder::require_free(const fs::path& path, bool resume) {
  std::error_code error;
  if (!resume) require_none(path, fs::exists(path / "lock", error));
  const bool exists = fs::exists(path, error);
  std::string why = error ? error.message() : "";
  if (!exists && fs::is_symlink(path, error)) why = "it is a link to nothing";
  fs::path there = fs::absolute(path, error);
  while (why.empty() && !fs::exists(there, error) && there.has_relative_path()) there = there.parent_path();
  if (why.empty() && !fs::is_directory(there, error)) why = there.string() + " is no folder";
  if (why.empty() && ::access(there.c_str(), W_OK | X_OK) != 0) why = std::strerror(errno);
  if (why.empty()) return;
  throw Error(Exit::cannot_create,
              path.string() + ": cannot be " + (exists ? "written to" : "made") + " (" + why + ")");
}

RunFolder::RunFolder(const fs::path& path, bool resume) : RunFolder() {  // so that ~RunFolder() follows a throw
  std::error_code error;
  const auto fail = [&](const std::string& what) { throw Error(Exit::cannot_create, path.string() + ": " + what); };
  const bool begun = fs::exists(path / "lock", error);
  if (!resume) require_none(path, begun);
  fs::create_directories(path, error);
  if (error) fail("cannot be made (" + error.message() + ")");
  lock_ = ::open((path / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) fail(std::string("cannot be written to (") + std::strerror(errno) + ")");
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  // A file system that knows no locks lets everybody in.
  if (::fcntl(lock_, F_SETLK, &whole) != 0 && (errno == EACCES || errno == EAGAIN)) {
    fail("another process trains in it; wait for its end, or name another folder");
  }
  if (!resume) require_none(path, begun);  // one may have begun before the lock was ours
  const auto launch = launch_name();       // a help, not worth an error: without it a restart says that a run is there
  if (::ftruncate(lock_, 0) != 0 || ::pwrite(lock_, launch.data(), launch.size(), 0) < 0) return;
}

bool RunFolder::is_of_this_launch(const fs::path& path) {
  std::ifstream file(path / "lock");
  const std::string launch((std::istreambuf_iterator<char>(file)), {});
  return !launch.empty() && launch == launch_name();
}

fs::path config_path(const fs::path& run) { return run / "config.json"; }

nlohmann::json stored_config(const fs::path& run) {
  std::ifstream in(config_path(run));
  auto config = nlohmann::json::parse(in, nullptr, false);
  return config.is_object() ? config : nlohmann::json();
}

void store_config(const fs::path& run, const nlohmann::json& config) {
  const auto text = config.dump(2) + "\n";
  write_file(config_path(run), std::as_bytes(std::span(text)), AtomicFile::Existing::replace);
}

RunFolder::~RunFolder() {
  if (lock_ >= 0) ::close(lock_);
}

RunFolder::RunFolder(RunFolder&& other) noexcept : lock_(std::exchange(other.lock_, -1)) {}

RunFolder& RunFolder::operator=(RunFolder&& other) noexcept {
  std::swap(lock_, other.lock_);
  return *this;
}

}  // namespace melflow::engine
