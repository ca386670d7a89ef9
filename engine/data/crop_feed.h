#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/data/augment.h"
#include "engine/data/corpus.h"

namespace melflow::engine {

/// Crops, ready for the model, all of one size.
struct Crops {
  int64_t count = 0, samples = 0, frames = 0;
  std::vector<uint64_t> seeds;  ///< [count], of what else a training draws for each: by global index, as all the rest
  std::vector<float> x;         ///< [count, samples] at the corpus level, with dequantisation noise
  std::vector<float> mel;       ///< [count, n_mels, frames]
};

struct FeedOptions {
  int64_t batch_size = 8;        ///< crops of a batch of all processes together
  int64_t rank = 0, ranks = 1;   ///< this process's share: crops [rank, rank + 1)·batch_size/ranks of each batch
  int64_t warmup_frames = 0;     ///< of true past before each segment
  int64_t lookahead_frames = 0;  ///< of true future in the mel behind it
  double dequantise = 1.0;       ///< uniform noise added, in steps of 16-bit samples; 0: none
  Augmentation augmentation{};   ///< of crops; their mels then are computed, whatever lies beside the recording
  int workers = 2;               ///< threads that make batches ahead; 0: each when it is asked for
};

/// Batches of crops, made ahead by threads. Batch n holds the crops of the global indices [n·size, (n + 1)·size), or
/// this process's share of them: a pure function of (corpus, seed, n), whatever was asked before, and however many
/// threads and processes there are.
class CropFeed {
 public:
  CropFeed(std::shared_ptr<Corpus> corpus, const FeedOptions& options);
  ~CropFeed();

  /// Batch number `batch`. Those after it are then made ahead. Throws Error{bad_data} where a whole window of the
  /// corpus cannot be used.
  Crops take(int64_t batch);

  double seconds_waited() const { return seconds_waited_; }  ///< in take(), over all calls

 private:
  struct Window;
  struct Crop {
    std::vector<float> x, mel;  ///< without dequantisation noise
  };
  struct Made {
    Crops crops;
    std::exception_ptr failure;
  };

  void work();
  Crops make(int64_t batch, audio::MelExtractor& extract);
  Crop crop_of(const Sound& sound, int64_t index, audio::MelExtractor& extract) const;
  Crop changed_crop(const Sound& sound, int64_t index, const CropChange& change, audio::MelExtractor& extract) const;
  std::shared_ptr<Window> window_at(int64_t index);
  std::shared_ptr<const Sound> sound_of(Window& window, int64_t index);
  std::shared_ptr<Corpus::Slot> next_to_read();

  std::shared_ptr<Corpus> corpus_;
  FeedOptions options_;
  double seconds_waited_ = 0;

  std::mutex mutex_;
  std::condition_variable work_is_there_, batch_is_there_;
  bool stop_ = false;
  int64_t taken_ = -1, next_ = 0, round_ = 0;  ///< the last batch taken; the next to make; jumps so far
  std::map<int64_t, Made> made_;
  std::map<int64_t, std::shared_ptr<Window>> windows_;  ///< by first index: the current one and the next
  std::vector<std::jthread> threads_;
};

}  // namespace melflow::engine
