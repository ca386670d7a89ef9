// Frames on stdin; docs/FORMATS.md has their framing.

#include <bit>
#include <cmath>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "engine/files/file_kind.h"
#include "engine/files/mel_file.h"
#include "engine/files/npy_header.h"
#include "tools/cli/frames.h"
#include "tools/cli/inputs.h"
#include "tools/cli/mel_scale.h"
#include "tools/cli/signals.h"

namespace melflow::tools {
namespace {

static_assert(std::endian::native == std::endian::little, "frames are copied as they lie in memory");

class StdinFrames : public Frames {
 public:
  explicit StdinFrames(const engine::Voice& voice)
      : voice_(voice), bands_(static_cast<size_t>(voice.mel.n_mels)), frame_bytes_(bands_ * sizeof(float)) {}

  bool next(std::vector<float>& frames) override {
    if (!begun_ && !begin(frames)) return !frames.empty();
    while (!ended_ && bytes_.size() < frame_bytes_) {
      if (!read_some_stdin(bytes_)) ended_ = true;
    }
    const size_t whole = bytes_.size() / frame_bytes_;
    if (stop_requested() || whole == 0) {
      check_end();
      return false;
    }
    append(whole, frames);
    return true;
  }

 private:
  /// Looks at the first bytes. False where everything has been read already.
  bool begin(std::vector<float>& frames) {
    begun_ = true;
    constexpr size_t kPrefix = 12;
    while (bytes_.size() < kPrefix && !ended_) ended_ = !read_some_stdin(bytes_);
    const bool npy = files::kind_of(bytes_) == files::FileKind::npy;
    const bool whole = files::begins_safetensors(bytes_) || files::begins_archive(bytes_);
    if (npy && skip_npy_header()) return true;
    if (!npy && !whole) {
      require_raw(bytes_, "frames");
      return true;
    }
    while (!ended_) ended_ = !read_some_stdin(bytes_);
    if (stop_requested()) return false;
    const auto mel = files::parse_mel(bytes_, "stdin", voice_.mel.n_mels);
    engine::require_same_recipe(mel, voice_, "stdin");
    audio::append_frames(mel, 0, mel.frames, frames);
    if (!mel.recipe) scale_.look(frames);
    scale_.finish();
    bytes_.clear();
    count_ = static_cast<size_t>(mel.frames);
    return false;
  }

  /// True where the array lies frame after frame; its header is then gone and the frames that it promises are known.
  bool skip_npy_header() {
    const auto byte = [&](size_t at) { return std::to_integer<size_t>(bytes_[at]); };
    constexpr size_t kLongestStart = 12;
    if (bytes_.size() < kLongestStart) return false;
    const bool first_version = byte(6) == 1;
    const size_t start = first_version ? 10 : 12;
    const size_t length = byte(8) + (byte(9) << 8) + (first_version ? 0 : (byte(10) << 16) + (byte(11) << 24));
    constexpr size_t kMost = 65536;
    if (byte(6) > 3 || length > kMost) return false;  // the parser of whole files says what is wrong
    while (bytes_.size() < start + length && !ended_) ended_ = !read_some_stdin(bytes_);
    if (bytes_.size() < start + length) return false;
    const auto header =
        files::parse_npy_header({reinterpret_cast<const char*>(bytes_.data()) + start, length}, "stdin");
    if (header.descr != "<f4" || header.shape.size() != 2) return false;
    const auto bands = static_cast<int64_t>(bands_);
    const bool by_frame =
        header.fortran_order ? header.shape[0] == bands : header.shape[1] == bands && header.shape[0] != bands;
    if (!by_frame) return false;
    promised_ = static_cast<size_t>(header.shape[header.fortran_order ? 1 : 0]);
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(start + length));
    return true;
  }

  void append(size_t count, std::vector<float>& frames) {
    const size_t before = frames.size();
    frames.resize(before + count * bands_);
    std::memcpy(frames.data() + before, bytes_.data(), count * frame_bytes_);
    for (size_t i = before; i < frames.size(); ++i) {
      if (std::isfinite(frames[i])) continue;
      throw Error(Exit::bad_data, "stdin: frame " + std::to_string(count_ + (i - before) / bands_) +
                                      " holds NaN or infinity; frames are " + std::to_string(bands_) +
                                      " float32 numbers each");
    }
    count_ += count;
    scale_.look(std::span(frames).subspan(before));
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(count * frame_bytes_));
    if (promised_ && count_ > *promised_) {
      throw Error(Exit::bad_data, "stdin: more frames than the .npy header says (" + std::to_string(*promised_) + ")");
    }
  }

  void check_end() {
    if (stop_requested()) return;
    if (!bytes_.empty()) {
      throw Error(Exit::bad_data, "stdin: ends within frame " + std::to_string(count_) + ": " +
                                      std::to_string(bytes_.size()) + " bytes of " + std::to_string(frame_bytes_) +
                                      "; frames are " + std::to_string(bands_) + " float32 numbers each");
    }
    if (promised_ && count_ < *promised_) {
      throw Error(Exit::bad_data, "stdin: ends after " + std::to_string(count_) + " of " + std::to_string(*promised_) +
                                      " frames that the .npy header says");
    }
    if (count_ == 0) throw Error(Exit::bad_data, "stdin: holds no frame");
    scale_.finish();
  }

  const engine::Voice& voice_;
  size_t bands_, frame_bytes_;
  bool begun_ = false, ended_ = false;
  std::vector<std::byte> bytes_;
  size_t count_ = 0;                // frames that came out
  std::optional<size_t> promised_;  // by a .npy header
  MelScale scale_{"stdin"};
};

}  // namespace

std::unique_ptr<Frames> stdin_frames(const engine::Voice& voice) { return std::make_unique<StdinFrames>(voice); }

}  // namespace melflow::tools
