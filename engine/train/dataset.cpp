#include "engine/train/dataset.h"

#include <torch/torch.h>

#include "engine/tensors.h"

namespace melflow::engine {

std::shared_ptr<Corpus> load_corpus(const std::vector<std::filesystem::path>& data, const TrainConfig& config,
                                    std::function<void(const std::string&)> refused) {
  const auto workers = static_cast<int>(config.data_workers);
  return std::make_shared<Corpus>(find_clips(data, config.mel, workers),
                                  CorpusOptions{.mel = config.mel,
                                                .level = config.level,
                                                .hold_out_every = config.hold_out_every,
                                                .seed = config.seed,
                                                .segment_frames = config.segment_frames,
                                                .shuffle_mb = config.shuffle_mb,
                                                .mels = config.mels,
                                                .workers = workers},
                                  std::move(refused));
}

std::unique_ptr<CropFeed> training_feed(std::shared_ptr<Corpus> corpus, const TrainConfig& config,
                                        int64_t warmup_frames, int64_t lookahead_frames, int64_t rank, int64_t ranks) {
  return std::make_unique<CropFeed>(std::move(corpus), FeedOptions{.batch_size = config.batch_size,
                                                                   .rank = rank,
                                                                   .ranks = ranks,
                                                                   .warmup_frames = warmup_frames,
                                                                   .lookahead_frames = lookahead_frames,
                                                                   .dequantise = config.dequantise,
                                                                   .augmentation = config.augment,
                                                                   .workers = static_cast<int>(config.data_workers)});
}

Batch batch_of(const Crops& crops) {
  return {vector_tensor(crops.x).view({crops.count, crops.samples}),
          vector_tensor(crops.mel).view({crops.count, -1, crops.frames}), crops.seeds};
}

Batch whole_clip(const Sound& sound, const Corpus& corpus) {
  const auto& recipe = corpus.options().mel;
  const auto size = static_cast<int64_t>(sound.samples.size());
  const auto frames = sound.mel.empty() ? recipe.stft().frames(size) : sound.mel_frames;
  audio::MelExtractor extract(recipe);
  const auto x = corpus.at_level(sound, 0, size / recipe.hop_length * recipe.hop_length);
  return {vector_tensor(x).unsqueeze(0),
          vector_tensor(corpus.mel_frames(sound, 0, frames, extract)).view({1, recipe.n_mels, frames})};
}

}  // namespace melflow::engine
