#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "audio/waveform.h"
#include "engine/data/clips.h"

namespace melflow::engine {

/// What can be wrong with a recording of a corpus.
struct FindingKind {
  const char* name;
  const char* meaning;
};
inline constexpr std::array<FindingKind, 12> kFindingKinds{{
    {"broken", "cannot be read; a training leaves it out"},
    {"silent", "holds nothing above the noise of 16 bit; a training leaves it out"},
    {"short", "is too short for a crop"},
    {"duplicate", "has the same samples as another"},
    {"clipped", "runs of samples at its peak: the top is cut off"},
    {"phase", "its channels cancel one another: what is read is their mean"},
    {"over", "goes beyond full scale by 0.5 dB and more: integers and players clip it"},
    {"rate", "has another sample rate than most"},
    {"level", "is much louder or softer than most"},
    {"dc", "its mean is not zero"},
    {"hum", "mains hum at 50 or 60 Hz"},
    {"gap", "a long silence in it"},
}};

struct Finding {
  const char* kind;    ///< of kFindingKinds
  std::string detail;  ///< in numbers
};

constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

/// One recording, measured.
struct ClipLint {
  std::string name;
  int sample_rate = 0, channels = 0;
  double seconds = 0;
  double peak_db = kNotMeasured, rms_db = kNotMeasured;  ///< re full scale
  double dc = 0;                                         ///< mean, of full scale
  int64_t clipped = 0;                                   ///< samples in flat runs of three and more at the peak
  double hum_db = kNotMeasured;  ///< 50 or 60 Hz over its neighbours, the louder; only of a second and more
  double longest_gap = 0;        ///< seconds below -60 dB of full scale
  std::string digest;            ///< of its 16-bit samples
  std::vector<Finding> findings;
};

struct LintOptions {
  double short_seconds = 0.4;  ///< a crop of a training by default is 0.37 s
  double gap_seconds = 1.5;
  double level_db = 10;  ///< from the median
  double hum_db = 15;    ///< over its neighbours, of what is above -65 dB of full scale
  double dc = 0.1;       ///< of the RMS
  int workers = 2;
};

struct CorpusLint {
  std::vector<ClipLint> clips;       ///< in the order of paths
  std::vector<std::string> refused;  ///< archives, folders and links that cannot be read
  double seconds = 0;
  int usual_rate = 0;
  double median_db = kNotMeasured, low_db = kNotMeasured, high_db = kNotMeasured;  ///< level: median, 5 %, 95 %

  int64_t with_findings() const;
};

/// Measures one recording; findings that need the others are left to lint_corpus.
void measure(const audio::Waveform& sound, const LintOptions& options, ClipLint& clip);

/// What the mean of several channels, which `measure` has seen, hides: tops of one that are cut off, and channels that
/// cancel. `channel(c)` gives the samples of one, 0 ≤ c < channels.
void measure_channels(int channels, const std::function<std::vector<float>(int)>& channel, ClipLint& clip);

/// Reads every recording, whole. Calls `report` with how many are done, from any thread, one at a time; stops early
/// where `stop` says so. Throws as list_clips does.
CorpusLint lint_corpus(const std::vector<std::filesystem::path>& paths, const LintOptions& options,
                       const std::function<bool()>& stop, const std::function<void(size_t, size_t)>& report);

nlohmann::json to_json(const ClipLint& clip);
nlohmann::json summary_json(const CorpusLint& lint);

/// One page that needs nothing else: what was found, how levels and lengths are spread, each recording with findings.
std::string lint_page(const CorpusLint& lint);

}  // namespace melflow::engine
