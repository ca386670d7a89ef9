#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

#include "engine/data/crop_feed.h"
#include "engine/train/config.h"

namespace melflow::engine {

/// The corpus of a training: folders of recordings, .tar archives and single files, found by find_clips. `refused` is
/// told a line for each recording that cannot be used. Throws Error{no_input} where nothing is left.
std::shared_ptr<Corpus> load_corpus(const std::vector<std::filesystem::path>& data, const TrainConfig& config,
                                    std::function<void(const std::string&)> refused);

/// The batches of a training, made ahead by threads. Each crop has `warmup_frames` of true past before its
/// segment_frames, and its mel `lookahead_frames` of true future behind. Of several processes, each takes its share.
std::unique_ptr<CropFeed> training_feed(std::shared_ptr<Corpus> corpus, const TrainConfig& config,
                                        int64_t warmup_frames, int64_t lookahead_frames, int64_t rank, int64_t ranks);

/// A batch: x [batch, samples] at the corpus level with dequantisation noise, mel [batch, n_mels, frames].
struct Batch {
  torch::Tensor x, mel;
  std::vector<uint64_t> seeds =
      {};  ///< [batch], of what the model draws while it is trained; a validation draws nothing

  Batch to(torch::Device device) const { return {x.to(device), mel.to(device), seeds}; }
};
Batch batch_of(const Crops& crops);

/// One held-out recording, whole (its end short of a frame is cut): batch of one, without dequantisation.
Batch whole_clip(const Sound& sound, const Corpus& corpus);

}  // namespace melflow::engine
