#include "engine/files/mel_frames.h"

#include <cstring>
#include <string>

#include "engine/files/mapped_file.h"
#include "engine/files/mel_file.h"

namespace melflow::files {

MelFrames::MelFrames(audio::Mel mel) : MelFrames(std::make_shared<const audio::Mel>(std::move(mel))) {}

MelFrames::MelFrames(std::shared_ptr<const audio::Mel> mel)
    : n_mels_(mel->n_mels),
      frames_(mel->frames),
      recipe_(mel->recipe),
      owner_(mel),
      values_(std::as_bytes(std::span(mel->values))) {}

MelFrames::MelFrames(const std::filesystem::path& path, int expected_mels) {
  auto file = std::make_shared<const MappedFile>(path);
  if (auto view = view_mel(file->bytes(), path.string(), expected_mels)) {
    n_mels_ = view->n_mels;
    frames_ = view->frames;
    recipe_ = std::move(view->recipe);
    owner_ = std::move(file);
    values_ = view->values;
  } else {
    *this = MelFrames(parse_mel(file->bytes(), path.string(), expected_mels));
  }
}

void MelFrames::append(int first, int count, std::vector<float>& out) const {
  const auto bands = static_cast<size_t>(n_mels_), length = static_cast<size_t>(frames_);
  const auto begin = static_cast<size_t>(first), n = static_cast<size_t>(count), at = out.size();
  out.resize(at + n * bands);
  for (size_t m = 0; m < bands; ++m) {
    const std::byte* row = values_.data() + (m * length + begin) * sizeof(float);
    for (size_t i = 0; i < n; ++i) std::memcpy(&out[at + i * bands + m], row + i * sizeof(float), sizeof(float));
    // A touch may bring two megabytes of the file, and there are as many places as bands.
    constexpr size_t kSmall = 4 << 20;
    if (values_.size() > kSmall) let_go({row, n * sizeof(float)});
  }
}

}  // namespace melflow::files
