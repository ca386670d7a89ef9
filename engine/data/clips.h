#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "audio/mel.h"
#include "audio/sound_file.h"
#include "engine/files/shard.h"

namespace melflow::engine {

/// Where a recording is: a file, or a member of a tar archive.
struct ClipPlace {
  std::string path;                  ///< of the file; of a member, its name in the archive
  int32_t shard = -1;                ///< the archive's number in Clips::shards; -1: a file
  files::MemberPart sound{}, mel{};  ///< of a member; mel.size 0: it has no mel
  bool mel_beside = false;           ///< of a file: KEY.mel.npy or KEY.npy lies beside it
  int64_t samples = 0;               ///< at the recipe's rate, as the header says

  bool has_mel() const { return mel_beside || mel.size > 0; }
};

/// The recordings of a corpus, found by name and header: nothing is decoded.
struct Clips {
  std::vector<std::string> shards;   ///< paths of archives
  std::vector<ClipPlace> places;     ///< in the order of paths; of an archive, in the order in which they lie there
  std::vector<std::string> refused;  ///< one line each: which file or member, what is wrong

  /// What a message calls it: the file's path, or "shard.tar: 'member.wav'".
  std::string name(const ClipPlace& place) const;
};

/// Mean square below which a recording counts as silent: under the noise of 16 bit, as a failed recording is.
inline constexpr double kSilentPower = 1e-8;

/// Everything under folders, audio files and .tar archives in WebDataset's layout, and files named one by one; but not
/// what a training whose run lies there has said (RUN/samples). Nothing is looked into but the archives, and `samples`
/// is 0. The number of `workers`, which read, changes nothing. Throws Error{no_input} where there is nothing.
Clips list_clips(const std::vector<std::filesystem::path>& paths, int workers);

/// The same, less what has no readable header or is shorter than one STFT window: that is refused by name.
Clips find_clips(const std::vector<std::filesystem::path>& paths, const audio::MelOptions& recipe, int workers);

/// Samples of a recording at the recipe's rate, by its header. Throws Error{bad_data} for what is shorter than one STFT
/// window, and as audio::audio_info does.
int64_t usable_samples(const std::filesystem::path& path, const audio::MelOptions& recipe);

/// A recording at `sample_rate` (0: its own), channels averaged. Throws as audio::read_audio does, by clip's name.
audio::Waveform read_clip(const Clips& clips, const ClipPlace& place, int sample_rate);

/// The bytes of a member or of a file, undecoded. Throws Error{no_input, bad_data}.
std::vector<std::byte> read_sound_bytes(const Clips& clips, const ClipPlace& place);
/// The same of its mel, a .npy file: KEY.mel.npy before KEY.npy where both lie there. Asked only where place.has_mel().
std::vector<std::byte> read_mel_bytes(const Clips& clips, const ClipPlace& place);

}  // namespace melflow::engine
