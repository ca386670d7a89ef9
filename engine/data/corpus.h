#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "audio/mel.h"
#include "engine/data/clips.h"
#include "engine/data/sample_order.h"

namespace melflow::engine {

struct CorpusOptions {
  audio::MelOptions mel{};
  double level = 0.08;          ///< RMS that the corpus is brought to by one gain; 0 leaves it as it is
  int64_t hold_out_every = 20;  ///< every n-th recording is kept out for validation; 0: none
  int64_t seed = 1234;
  int64_t segment_frames = 32;  ///< of a crop
  int64_t shuffle_mb = 512;     ///< decoded sound among which is shuffled; twice as much is in memory at most
  bool mels = false;            ///< take the mels that lie beside recordings instead of computing them
  int workers = 2;              ///< threads that read; their number changes nothing
};

/// A decoded recording.
struct Sound {
  std::string name;
  std::vector<int16_t> samples;  ///< before the corpus gain, over `scale`
  float scale = 1;               ///< above 1 where the recording goes beyond full scale, as float files may
  std::vector<float> mel;        ///< [n_mels, mel_frames] of the recording as it is; empty: computed from the samples
  int64_t mel_frames = 0;
};

/// What a training hears: recordings by place, decoded when they are wanted. Where everything fits into one window of
/// the shuffle, all of it is decoded and checked before the first step; else by header then, and by sound (silence,
/// NaN, a broken end) when it is first wanted.
class Corpus {
 public:
  /// `refused` is told one line for each recording that cannot be used: which, what is wrong. It may be called from
  /// any thread, one at a time. Throws Error{no_input} where nothing is left to train on.
  Corpus(Clips clips, const CorpusOptions& options, std::function<void(const std::string&)> refused);

  const CorpusOptions& options() const { return options_; }
  const SampleOrder& order() const { return *order_; }
  int64_t training_clips() const { return static_cast<int64_t>(training_.size()); }
  int64_t held_out_clips() const { return held_out_clips_; }
  int64_t mels_beside() const { return mels_beside_; }  ///< recordings that have a mel, used or not
  double seconds() const;                               ///< of the training part, as the headers say
  int64_t digest() const;                               ///< of names and lengths in order, and of what is kept out
  double gain() const { return gain_; }                 ///< brings the corpus to the configured level

  /// Recordings for validation, evenly chosen among those kept out, decoded.
  const std::vector<std::shared_ptr<const Sound>>& held_out() const { return held_out_; }

  /// A recording that is decoded at most once while somebody holds on to it.
  class Slot;
  std::shared_ptr<Slot> slot(int32_t training_clip);
  /// Null where it cannot be used. Any number of threads may ask.
  std::shared_ptr<const Sound> sound(Slot& slot);

  /// Samples [first, first + count) at the corpus level; silence before the start and behind the end.
  std::vector<float> at_level(const Sound& sound, int64_t first, int64_t count) const;
  /// Frames [first, first + count) of the recording's mel, [n_mels, count]; silence before its start and behind its
  /// end. Bit for bit those of the whole.
  std::vector<float> mel_frames(const Sound& sound, int64_t first, int64_t count, audio::MelExtractor& extract) const;

 private:
  std::shared_ptr<const Sound> decode(const ClipPlace& place) const;
  std::shared_ptr<Slot> slot_of(int32_t place);
  void refuse(int32_t place, const std::string& line);
  /// Fills training_; answers the places that are kept out.
  std::vector<int32_t> split();
  /// Throws Error{no_input} that says why nothing is left.
  void require_training(size_t kept_out) const;
  /// Throws Error{config} where a crop is longer than every recording.
  void require_crops() const;
  /// `window` in samples.
  void order_training(int64_t window);
  /// Decodes all of `places`; those that can be used remain.
  void decode_all(std::vector<int32_t>& places);
  void measure_level(const std::vector<int32_t>& places);
  void choose_held_out(const std::vector<int32_t>& places);

  Clips clips_;
  CorpusOptions options_;
  std::function<void(const std::string&)> refused_;
  std::vector<int32_t> training_;  ///< places
  int64_t held_out_clips_ = 0, mels_beside_ = 0;
  std::unique_ptr<SampleOrder> order_;
  double gain_ = 1.0;
  std::vector<std::shared_ptr<const Sound>> held_out_;

  std::mutex mutex_;
  std::vector<std::weak_ptr<Slot>> slots_;   ///< one a place
  std::vector<std::shared_ptr<Slot>> kept_;  ///< all of them, where everything fits into one window
  std::map<int32_t, std::string> unusable_;  ///< places whose sound was found to be none, and why
  bool told_later_ = false;                  ///< unusable_ is told when it is complete
};

}  // namespace melflow::engine
