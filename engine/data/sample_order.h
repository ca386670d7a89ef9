#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace melflow::engine {

/// In which order a training hears its recordings: a pure function of (seed, global index), whatever was asked before
/// and by whom. An epoch visits every recording, for each of its segments once, so that every moment of the corpus is
/// as likely as any other. Recordings that lie together are read together: the corpus is cut into runs of neighbours,
/// an epoch shuffles the runs, cuts them into windows of bounded size, and shuffles within each window. What fits into
/// one window is thus shuffled as a whole.
class SampleOrder {
 public:
  struct Options {
    int64_t seed = 1234;
    int64_t segment_samples = 8192;             ///< of a crop: a clip is heard about once an epoch for each that it has
    int64_t window_samples = int64_t{1} << 28;  ///< of a window's clips together; a longer clip has one of its own
  };

  /// The samples of each clip, and of each clip whether a run may go on from its predecessor to it; one at least.
  SampleOrder(const std::vector<int64_t>& samples, const std::vector<bool>& follows, const Options& options);

  int64_t epoch_entries() const { return epoch_entries_; }

  struct Window {
    int64_t epoch = 0;
    size_t number = 0;            ///< in its epoch
    int64_t first = 0;            ///< global index of its first entry
    std::vector<int32_t> clips;   ///< in the order of the corpus
    std::vector<int32_t> chosen;  ///< for each entry, the place of its clip in `clips`

    int64_t end() const { return first + static_cast<int64_t>(chosen.size()); }
  };
  /// The window that holds a global index. Takes as long as the window has entries, and the epoch runs.
  Window window_at(int64_t index) const;

 private:
  struct Run {
    int32_t begin, end;  ///< clips
    int64_t samples, entries;
  };
  int64_t entries_of(int32_t clip) const;

  Options options_;
  std::vector<int64_t> samples_;
  std::vector<Run> runs_;
  int64_t epoch_entries_ = 0;
};

/// Uniform in [0, 1), a pure function of its arguments.
double uniform_at(int64_t seed, uint64_t stream, uint64_t index);

/// Streams of random numbers of one seed, apart from each other, the entries' one for each window far behind the
/// rest; the noise of synthesis uses small channel numbers and is far away.
enum RandomStream : uint64_t {
  kCropStream = (uint64_t{1} << 40) + 1,
  kDequantiseStream,
  kRunStream,
  kEntryStream,
  kModelStream,
  kAugmentStream,
  kAugmentNoiseStream,
};

}  // namespace melflow::engine
