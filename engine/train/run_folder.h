#pragma once

#include <filesystem>

#include <nlohmann/json_fwd.hpp>

namespace melflow::engine {

/// The folder of a run, made where there is none, and held: while this lives no other process trains in it. (Two that
/// did would overwrite each other's checkpoints.) Within one process several may be alive; processes are told apart by
/// the system's record locks, which end with a process however it dies.
class RunFolder {
 public:
  RunFolder() = default;  ///< of none
  /// Throws Error{cannot_create} where the folder cannot be made, holds what a run writes already while `resume` is
  /// false, or is held by another process.
  RunFolder(const std::filesystem::path& path, bool resume);
  /// The same but for the lock, and nothing is made: for who has long work before it.
  static void require_free(const std::filesystem::path& path, bool resume);
  /// Whether this launch (launcher.h) has held the folder before: what it left there is its own.
  static bool is_of_this_launch(const std::filesystem::path& path);
  ~RunFolder();
  RunFolder(RunFolder&& other) noexcept;
  RunFolder& operator=(RunFolder&& other) noexcept;

 private:
  int lock_ = -1;  // of the file "lock", which holds the launch's name
};

/// Where a run's configuration lies: its config.json.
std::filesystem::path config_path(const std::filesystem::path& run);
/// What lies there; null where that is no JSON object.
nlohmann::json stored_config(const std::filesystem::path& run);
/// Replaces it. Throws as AtomicFile does.
void store_config(const std::filesystem::path& run, const nlohmann::json& config);

}  // namespace melflow::engine
