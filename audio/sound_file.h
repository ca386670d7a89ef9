#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "audio/pcm.h"
#include "audio/waveform.h"
#include "base/atomic_file.h"
#include "base/error.h"

namespace melflow::audio {

struct ReadOptions {
  int sample_rate = 0;  ///< resample to this rate, Hz; 0 keeps the file's own
  int channel = 0;      ///< the first is 1; 0: the mean of all
  int assume_rate = 0;  ///< relabel the samples with this rate before anything else; 0 believes the file
  int64_t max_frames = int64_t{24} * 3600 * 192000;  ///< longer files are refused before they are read
};

struct AudioInfo {
  int sample_rate = 0;
  int channels = 0;
  int64_t frames = 0;  ///< as the header says
  std::string format;  ///< "WAV, PCM 16 bit"
};

/// Reads the header only.
AudioInfo audio_info(const std::filesystem::path& path);

/// Reads anything libsndfile reads; channels are averaged into one, unless one is asked for. Integer formats are scaled
/// by their full scale (int16 / 32768), float formats are taken as they are. Memory stays bounded by what the file
/// really holds, never by what its header claims. Throws Error{no_input} for a missing file, Error{bad_data} for one
/// that is not audio, holds no sample, or holds NaN or infinity.
Waveform read_audio(const std::filesystem::path& path, const ReadOptions& options = {});

/// For a recording whose memory is not there.
Error too_long_for_memory(const std::string& name);

/// Takes samples as they are read.
using SampleSink = std::function<void(std::span<const float>)>;
/// read_audio() piece by piece, in memory that does not grow with the recording; returns its rate, Hz. A fault may show
/// behind pieces that were given.
int read_audio(const std::filesystem::path& path, const ReadOptions& options, const SampleSink& sink);

/// Of a file in memory: a member of an archive. `name` is for messages.
AudioInfo audio_info(std::span<const std::byte> bytes, const std::string& name);
Waveform read_audio(std::span<const std::byte> bytes, const std::string& name, const ReadOptions& options = {});

/// Writes WAV, FLAC or raw PCM, by the extension (.wav, .flac, .raw, .pcm). Error{usage} for another extension or FLAC
/// with float32. A Waveform goes under its name only when whole.
void write_audio(const std::filesystem::path& path, const Waveform& waveform, Encoding encoding,
                 AtomicFile::Existing existing);

/// The 44-byte header of a WAV that is written to a pipe: its length fields hold `frames`, or the largest value
/// (players then play to the end of the stream) where frames < 0. RIFF wants an even number of data bytes: an odd
/// number of pcm24 samples is followed by one zero byte, which the header counts.
std::vector<std::byte> wav_header(int sample_rate, Encoding encoding, int64_t frames);
/// The most samples that a WAV file's 32 bits of length can say.
int64_t wav_most_samples(Encoding encoding);

}  // namespace melflow::audio
