#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "audio/mel.h"

namespace melflow::files {

class TemporaryFile;

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
  audio::Mel whole() const;

 private:
  friend class MelFramesWriter;
  MelFrames() = default;
  explicit MelFrames(std::shared_ptr<const audio::Mel> mel);

  int n_mels_ = 0, frames_ = 0;
  std::optional<audio::MelOptions> recipe_;
  std::shared_ptr<const void> owner_;  // a mel, or a mapped file
  std::span<const std::byte> values_;  // [n_mels, frames] float32, at any address
  // Or of a writer: [frames, n_mels], those that the file has not in memory.
  std::shared_ptr<const TemporaryFile> first_;
  std::shared_ptr<const std::vector<float>> rest_;
};

/// A mel whose frames are only made: in memory while they are few, then in a temporary file; where there is no room for
/// one they stay in memory.
class MelFramesWriter {
 public:
  explicit MelFramesWriter(const audio::MelOptions& recipe) : recipe_(recipe) {}

  /// Whole frames, n_mels numbers each. Throws Error{bad_data} beyond kMostMelFrames.
  void append(std::span<const float> frames);
  MelFrames finish() &&;

 private:
  void move_to_file();
  size_t in_file() const;  // numbers

  audio::MelOptions recipe_;
  std::shared_ptr<TemporaryFile> file_;
  bool no_room_ = false;  // for a file
  std::vector<float> rest_;
};

}  // namespace melflow::files
