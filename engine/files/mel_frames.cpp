#include "engine/files/mel_frames.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.h"
#include "engine/files/mapped_file.h"
#include "engine/files/mel_file.h"
#include "engine/files/temporary_file.h"

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
  if (rest_) {
    const auto in_file = first_ ? first_->size() / sizeof(float) : 0;
    const auto from = begin * bands, to = from + n * bands, cut = std::clamp(size_t{in_file}, from, to);
    if (cut > from) first_->read(from * sizeof(float), std::as_writable_bytes(std::span(out).subspan(at, cut - from)));
    if (to > cut) std::copy_n(rest_->data() + (cut - in_file), to - cut, out.data() + at + (cut - from));
    return;
  }
  for (size_t m = 0; m < bands; ++m) {
    const std::byte* row = values_.data() + (m * length + begin) * sizeof(float);
    for (size_t i = 0; i < n; ++i) std::memcpy(&out[at + i * bands + m], row + i * sizeof(float), sizeof(float));
    // A touch may bring two megabytes of the file, and there are as many places as bands.
    constexpr size_t kSmall = 4 << 20;
    if (values_.size() > kSmall) let_go({row, n * sizeof(float)});
  }
}

audio::Mel MelFrames::whole() const {
  audio::Mel mel{n_mels_, frames_, std::vector<float>(static_cast<size_t>(n_mels_) * static_cast<size_t>(frames_)),
                 recipe_};
  constexpr int kPiece = 256;
  const auto bands = static_cast<size_t>(n_mels_), length = static_cast<size_t>(frames_);
  std::vector<float> piece;
  for (int t = 0; t < frames_; t += kPiece) {
    piece.clear();
    append(t, std::min(kPiece, frames_ - t), piece);
    for (size_t m = 0; m < bands; ++m) {
      float* row = mel.values.data() + m * length + static_cast<size_t>(t);
      for (size_t i = 0; i * bands < piece.size(); ++i) row[i] = piece[i * bands + m];
    }
  }
  return mel;
}

void MelFramesWriter::append(std::span<const float> frames) {
  constexpr size_t kInMemory = 2 << 20;  // numbers: five minutes of 80 bands
  const auto numbers = in_file() + rest_.size() + frames.size();
  if (numbers / static_cast<size_t>(recipe_.n_mels) > static_cast<size_t>(kMostMelFrames)) {
    throw Error(Exit::bad_data, "it makes more than the 2^20 frames of a mel; cut it into pieces");
  }
  rest_.insert(rest_.end(), frames.begin(), frames.end());
  if (rest_.size() >= kInMemory && !no_room_) move_to_file();
}

size_t MelFramesWriter::in_file() const { return file_ ? file_->size() / sizeof(float) : 0; }

void MelFramesWriter::move_to_file() {
  try {
    if (!file_) file_ = std::make_shared<TemporaryFile>();
    file_->append(std::as_bytes(std::span(rest_)));
    rest_.clear();
  } catch (const Error&) {
    no_room_ = true;
  }
}

MelFrames MelFramesWriter::finish() && {
  MelFrames frames;
  frames.n_mels_ = recipe_.n_mels;
  frames.recipe_ = recipe_;
  frames.frames_ = static_cast<int>((in_file() + rest_.size()) / static_cast<size_t>(recipe_.n_mels));
  frames.first_ = std::move(file_);
  frames.rest_ = std::make_shared<const std::vector<float>>(std::move(rest_));
  return frames;
}

}  // namespace melflow::files
