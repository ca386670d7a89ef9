#include "audio/mel.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "audio/fast_log.h"
#include "audio/frame_magnitudes.h"
#include "base/error.h"
#include "cpu/clones.h"

namespace melflow::audio {
namespace {

/// Frames that are taken through transform, filterbank and logarithm together: one SIMD lane each.
constexpr int kLanes = FrameMagnitudes::kLanes;

/// The part of a filterbank row that is not zero.
struct Band {
  int first_bin = 0;
  int length = 0;
  int first_weight = 0;  ///< in the one array of all weights
};

/// The bands of a recipe; appends their weights.
std::vector<Band> find_bands(const MelOptions& options, std::vector<float>& weights) {
  const std::vector<double> dense = mel_filterbank(options);
  const auto bins = static_cast<size_t>(options.stft().bins());
  std::vector<Band> bands;
  for (size_t m = 0; m < static_cast<size_t>(options.n_mels); ++m) {
    const auto row = std::span(dense).subspan(m * bins, bins);
    const auto positive = [](double w) { return w > 0.0; };
    const auto first = std::ranges::find_if(row, positive);
    const auto last = std::find_if(row.rbegin(), std::make_reverse_iterator(first), positive).base();
    const auto length = static_cast<int>(last - first);
    bands.push_back({length > 0 ? static_cast<int>(first - row.begin()) : 0, length, static_cast<int>(weights.size())});
    for (auto w = first; w != last; ++w) weights.push_back(static_cast<float>(*w));
  }
  return bands;
}

/// The number of the first bins that all bands together want; at least one.
int end_of(const std::vector<Band>& bands) {
  int end = 1;
  for (const Band& band : bands) end = std::max(end, band.first_bin + band.length);
  return end;
}

/// Half a group's lanes. A vector type, because the compiler turns an array of sums into shuffles.
using HalfLanes [[gnu::vector_size(kLanes / 2 * sizeof(float)), gnu::aligned(alignof(float)), gnu::may_alias]] = float;

/// out[lane] = Σ_k weight[k]·magnitude[k][lane] for one band.
MELFLOW_CPU_CLONES void sum_band(const float* magnitude, const float* weight, int length, float* out) {
  const auto* halves = reinterpret_cast<const HalfLanes*>(magnitude);
  HalfLanes low = {}, high = {};
  for (int k = 0; k < length; ++k) {
    low += weight[k] * halves[2 * k];
    high += weight[k] * halves[2 * k + 1];
  }
  reinterpret_cast<HalfLanes*>(out)[0] = low;
  reinterpret_cast<HalfLanes*>(out)[1] = high;
}

/// values = ln(max(values, floor))
MELFLOW_CPU_CLONES void log_in_place(float* values, int n, float floor) {
  for (int i = 0; i < n; ++i) values[i] = fast_log(values[i] > floor ? values[i] : floor);
}

}  // namespace

struct MelExtractor::Impl {
  explicit Impl(const MelOptions& recipe)
      : options((recipe.validate(), recipe)),
        framing(recipe.stft()),
        bands(find_bands(recipe, weights)),
        magnitudes(framing, end_of(bands), recipe.magnitude_epsilon),
        sums(static_cast<size_t>(recipe.n_mels) * kLanes) {}

  /// Log-mels of frames [first, first + count), count ≤ kLanes, into values [n_mels, frames].
  void group(std::span<const float> samples, int first, int count, Mel& mel) {
    const float* const columns = magnitudes(samples, first, count);
    for (size_t m = 0; m < bands.size(); ++m) {
      sum_band(columns + static_cast<ptrdiff_t>(bands[m].first_bin) * kLanes, weights.data() + bands[m].first_weight,
               bands[m].length, sums.data() + m * kLanes);
    }
    log_in_place(sums.data(), options.n_mels * kLanes, static_cast<float>(options.log_floor));
    for (int m = 0; m < options.n_mels; ++m) {
      std::copy_n(sums.data() + static_cast<ptrdiff_t>(m) * kLanes, count,
                  mel.values.data() + static_cast<ptrdiff_t>(m) * mel.frames + first);
    }
  }

  MelOptions options;
  StftOptions framing;
  std::vector<float> weights;  ///< all bands' one after the other
  std::vector<Band> bands;     ///< [n_mels]
  FrameMagnitudes magnitudes;
  std::vector<float> sums;  ///< mels, then log-mels [n_mels, kLanes]
};

MelExtractor::MelExtractor(const MelOptions& options) : impl_(std::make_unique<Impl>(options)) {}
MelExtractor::~MelExtractor() = default;
MelExtractor::MelExtractor(MelExtractor&&) noexcept = default;
MelExtractor& MelExtractor::operator=(MelExtractor&&) noexcept = default;

const MelOptions& MelExtractor::options() const { return impl_->options; }

Mel MelExtractor::operator()(const Waveform& waveform) {
  const MelOptions& options = impl_->options;
  if (waveform.sample_rate != options.sample_rate) {
    throw Error(Exit::bad_data, "the sound has " + std::to_string(waveform.sample_rate) + " Hz, the mel recipe " +
                                    std::to_string(options.sample_rate) + " Hz; resample it first");
  }
  const auto samples = static_cast<int64_t>(waveform.samples.size());
  const int64_t frames = impl_->framing.frames(samples);
  if (frames == 0) {
    throw Error(Exit::bad_data, "the sound has " + std::to_string(samples) + " samples, too few for a mel; at least " +
                                    std::to_string(impl_->framing.shortest()) + " are needed");
  }
  if (frames > std::numeric_limits<int>::max()) {
    throw Error(Exit::bad_data,
                "the sound has " + std::to_string(samples) + " samples, too many for a mel; cut it into pieces");
  }
  Mel mel;
  mel.n_mels = options.n_mels;
  mel.frames = static_cast<int>(frames);
  mel.values.resize(static_cast<size_t>(mel.n_mels) * static_cast<size_t>(mel.frames));
  mel.recipe = options;
  for (int first = 0; first < mel.frames; first += kLanes) {
    impl_->group(waveform.samples, first, std::min(kLanes, mel.frames - first), mel);
  }
  return mel;
}

void append_frames(const Mel& mel, int first, int count, std::vector<float>& frames) {
  for (int t = first; t < first + count; ++t) {
    for (int m = 0; m < mel.n_mels; ++m) {
      frames.push_back(mel.values[static_cast<size_t>(m) * static_cast<size_t>(mel.frames) + static_cast<size_t>(t)]);
    }
  }
}

}  // namespace melflow::audio
