#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "audio/mel.h"

namespace melflow::files {

/// A mel for who takes it frame after frame: in memory, or, where a file holds plain float32, left there, so that what
/// it takes of memory does not grow with its length. Copies share it.
class MelFrames {
 public:
  MelFrames(audio::Mel mel);  // NOLINT: a mel is its frames
  /// Throws as read_mel does, before anything is spoken.
  explicit MelFrames(const std::filesystem::path& path, int expected_mels = 0);

  int n_mels() const { return n_mels_; }
  int frames() const { return frames_; }
  const std::optional<audio::MelOptions>& recipe() const { return recipe_; }
  /// Appends frames [first, first + count), n_mels numbers each: the order in which streams take them.
  void append(int first, int count, std::vector<float>& out) const;

 private:
  explicit MelFrames(std::shared_ptr<const audio::Mel> mel);

  int n_mels_ = 0, frames_ = 0;
  std::optional<audio::MelOptions> recipe_;
  std::shared_ptr<const void> owner_;  // a mel, or a mapped file
  std::span<const std::byte> values_;  // [n_mels, frames] float32, at any address
};

}  // namespace melflow::files
