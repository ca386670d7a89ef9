#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include <torch/types.h>

#include "audio/mel.h"
#include "audio/waveform.h"
#include "engine/data/clips.h"
#include "engine/voice.h"
#include "models/vocoder.h"

namespace melflow::engine {

/// How well a recording fits a voice.
struct Score {
  double loss = 0.0;             ///< (½ Σ z² - log_det) / samples at sigma 1: the loss that the reference reports
  double nats_per_sample = 0.0;  ///< loss + ½ln(2π): the negative log-likelihood itself
  double noise_power = 0.0;  ///< mean z²; 1 is what the voice expects, of any sound (typicality: Nalisnick et al. 2019)
  std::vector<float> per_frame;  ///< nats_per_sample of each mel frame; their mean is the whole's
  torch::Tensor z;               ///< [group, groups] float32 on the CPU, rows in the forward pass's order
};

/// x [1, samples], samples a multiple of the hop; mel [1, n_mels, at least samples/hop]. A long recording goes through
/// the model in tiles of so many frames, each with as much around it as the model can see: the numbers are the same,
/// and hours take no more memory of the model than seconds.
Score score(models::Vocoder& model, const torch::Tensor& x, const torch::Tensor& mel, int64_t tile_frames = 1024);

/// A recording as a voice takes it.
struct Recording {
  audio::Waveform sound;  ///< at the voice's rate, times gain
  audio::Mel mel;         ///< of the whole sound, or from a file
  double gain = 1.0;      ///< what brought the recording to the voice's level
};

/// Whether a recording is brought to the loudness that the voice was trained on (one gain for the whole of it), as a
/// training does, or taken as it is. The same where the voice has no level.
enum class Loudness { of_voice, own };

/// Reads, mixes down, resamples to the voice's rate; the mel is by the voice's recipe. Throws Error{no_input, bad_data}
/// for what cannot be read, is shorter than one STFT window, or is silent while it should be brought to a level.
Recording read_recording(const std::filesystem::path& path, const Voice& voice, Loudness loudness = Loudness::of_voice);
/// The same of a corpus's recording.
Recording read_recording(const Clips& clips, const ClipPlace& place, const Voice& voice,
                         Loudness loudness = Loudness::of_voice);

/// The same with a mel from a file, and the recording as loud as it is, so that the two stay a pair. Throws
/// Error{bad_data} too where the mel has another recipe than the voice, or another length than the recording.
Recording read_recording(const std::filesystem::path& path, const Voice& voice, const std::filesystem::path& mel);

/// [1, samples], without the end that does not fill a frame.
torch::Tensor whole_frames(const audio::Waveform& sound, int64_t hop_length);

/// Whether all that is there is under the noise of 16 bit, as a failed recording is.
bool is_silent(std::span<const float> samples);

}  // namespace melflow::engine
