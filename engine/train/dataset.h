#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <torch/types.h>

#include "engine/train/config.h"

namespace melflow::engine {

/// A recording, ready to be cropped: samples and the mel of the whole, so that a crop's mel knows what lies around it.
struct Clip {
  std::filesystem::path path;
  std::vector<int16_t> samples;  ///< 16 bit, before the corpus gain: half the memory
  torch::Tensor mel;             ///< [n_mels, frames] at the corpus level
};

/// What a folder holds, sorted by path, and what of it cannot be used and why.
struct Corpus {
  std::vector<Clip> training, held_out;
  std::vector<std::string> refused;  ///< one line each: which file, what is wrong
  double gain = 1.0;                 ///< brings the corpus to the configured level
  double seconds() const;            ///< of the training part
  int sample_rate = 0;
};

/// Mean square below which a recording counts as silent: under the noise of 16 bit, as a failed recording is.
inline constexpr double kSilentPower = 1e-8;

/// The audio files under a folder, told by their extensions, sorted by path: what a training and an evaluation find.
/// Throws Error{no_input} where there is none.
std::vector<std::filesystem::path> audio_files(const std::filesystem::path& folder);

/// Every audio file under the folder: mixed down, brought to the recipe's rate and to one level. Every
/// hold_out_every-th file in the order of paths is kept out. Broken, silent and too short files (under one STFT window)
/// are refused by name. Throws Error{no_input} where nothing is left.
Corpus load_corpus(const std::filesystem::path& folder, const TrainConfig& config);

/// A batch: x [batch, samples] at the corpus level with dequantisation noise, mel [batch, n_mels, frames].
struct Batch {
  torch::Tensor x, mel;
};

/// Batch number `step` of the training: a pure function of (seed, step), whatever was drawn before. Each crop has
/// `warmup_frames` of true past before its segment_frames, and its mel `lookahead_frames` of true future behind.
Batch training_batch(const Corpus& corpus, const TrainConfig& config, int64_t warmup_frames, int64_t lookahead_frames,
                     int64_t step);

/// One held-out recording, whole (its end short of a frame is cut): batch of one, without dequantisation.
Batch whole_clip(const Clip& clip, const Corpus& corpus, const TrainConfig& config);

}  // namespace melflow::engine
