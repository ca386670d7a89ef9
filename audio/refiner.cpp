#include "audio/refiner.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "cpu/clones.h"

namespace melflow::audio {
namespace {

// All that is computed for frames lies [.., lanes], a frame a lane: a row is a vector, of which there are two lengths.
constexpr size_t kFewLanes = 8;
static_assert(kFftLanes == 2 * kFewLanes);
template <size_t kLanes>
struct Of {
  typedef float Row __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
};
template <size_t kLanes>
[[gnu::always_inline]] inline typename Of<kLanes>::Row& row_at(float* p) {
  return *reinterpret_cast<typename Of<kLanes>::Row*>(p);
}
template <size_t kLanes>
[[gnu::always_inline]] inline const typename Of<kLanes>::Row& row_at(const float* p) {
  return *reinterpret_cast<const typename Of<kLanes>::Row*>(p);
}
/// `loop` compiled for either length.
[[gnu::always_inline]] inline void with_lanes(size_t lanes, const auto& loop) {
  if (lanes == kFftLanes) {
    loop.template operator()<size_t{kFftLanes}>();
  } else {
    loop.template operator()<kFewLanes>();
  }
}

/// Sample t of frame `lane`, in rows that lie transposed.
std::vector<int32_t> in_rows(const MelOptions& recipe, int64_t stride) {
  std::vector<int32_t> out;
  for (int64_t t = 0; t < recipe.n_fft; ++t) {
    out.push_back(static_cast<int32_t>(t % recipe.hop_length * stride + t / recipe.hop_length));
  }
  return out;
}

const MelOptions& checked(const MelOptions& recipe, const RefineOptions& options) {
  if (const auto why = Refiner::why_not(recipe, options); !why.empty()) throw Error(Exit::config, why);
  return recipe;
}

/// Ends a pass, whose result is y, and begins the next.
MELFLOW_CPU_CLONES
void momentum_step(float momentum, size_t n, float* __restrict x, float* __restrict v, float* __restrict y) {
  for (size_t i = 0; i < n; ++i) {
    v[i] = y[i] - x[i];
    x[i] = y[i];
    y[i] += momentum * v[i];
  }
}

MELFLOW_CPU_CLONES
void magnitudes_of(const float* __restrict spectrum, float epsilon, size_t bins, size_t lanes, float* __restrict out) {
  with_lanes(lanes, [&]<size_t kLanes> {
    for (size_t k = 0; k < bins; ++k) {
      const float *re = spectrum + 2 * k * kLanes, *im = re + kLanes;
      for (size_t l = 0; l < kLanes; ++l) out[k * kLanes + l] = std::sqrt(re[l] * re[l] + im[l] * im[l] + epsilon);
    }
  });
}

/// out[target] = Σ weight·in[source] over the entries of each target, which follow each other: bands from bins or bins
/// from bands. A target without an entry keeps what it has.
template <bool kToBands, size_t kLanes>
[[gnu::always_inline]] inline void apply(const SparseBank& bank, const float* __restrict in, float* __restrict out) {
  const auto target = [](const SparseBank::Entry& e) { return static_cast<size_t>(kToBands ? e.band : e.bin); };
  const auto source = [](const SparseBank::Entry& e) { return static_cast<size_t>(kToBands ? e.bin : e.band); };
  const auto *entry = bank.entries.data(), *end = entry + bank.entries.size();
  while (entry != end) {
    const auto* first = entry;
    while (entry != end && target(*entry) == target(*first)) ++entry;
    typename Of<kLanes>::Row sum{};
    for (const auto* e = first; e != entry; ++e) sum += e->weight * row_at<kLanes>(in + source(*e) * kLanes);
    row_at<kLanes>(out + target(*first) * kLanes) = sum;
  }
}
MELFLOW_CPU_CLONES
void to_bands(const SparseBank& bank, const float* bins, size_t lanes, float* bands) {
  with_lanes(lanes, [&]<size_t kLanes> { apply<true, kLanes>(bank, bins, bands); });
}
MELFLOW_CPU_CLONES
void to_bins(const SparseBank& bank, const float* bands, size_t lanes, float* bins) {
  with_lanes(lanes, [&]<size_t kLanes> { apply<false, kLanes>(bank, bands, bins); });
}

/// bands = the gains that they lack.
MELFLOW_CPU_CLONES
void gains_of_bands(const float* __restrict wanted, float floor, float most, size_t n, float* __restrict bands) {
  for (size_t i = 0; i < n; ++i) {
    const float gain = wanted[i] / std::max(bands[i], floor);
    bands[i] = std::min(std::max(gain, RefiningBank::kLeastGain), most);
  }
}

/// The real sequence [n] whose spectrum's real part less its imaginary part is n times the inverse transform of
/// (gain - 1)·spectrum, where a lane is live (1), or nothing (0): Hartley's transform is its own inverse (Bracewell
/// 1983), so one direction serves both.
MELFLOW_CPU_CLONES
void hartley_of_correction(const float* __restrict spectrum, const float* __restrict gains,
                           const float* __restrict live, size_t n, size_t lanes, float* out) {
  with_lanes(lanes, [&]<size_t kLanes> {
    const auto alive = row_at<kLanes>(live);
    for (size_t k = 0; k <= n / 2; ++k) {
      const auto re = row_at<kLanes>(spectrum + 2 * k * kLanes), im = row_at<kLanes>(spectrum + (2 * k + 1) * kLanes);
      const auto change = (row_at<kLanes>(gains + k * kLanes) - 1.0f) * alive;
      row_at<kLanes>(out + (k == 0 ? 0 : n - k) * kLanes) = change * (re + im);
      row_at<kLanes>(out + k * kLanes) = change * (re - im);
    }
  });
}

/// rows += scale·the inverse transform, of which sample t of frame `lane` belongs to rows[place[t] + lane].
MELFLOW_CPU_CLONES
void overlap_add(const float* __restrict spectrum, const float* __restrict scale, const int32_t* __restrict place,
                 size_t n, size_t lanes, float* __restrict rows) {
  with_lanes(lanes, [&]<size_t kLanes> {
    for (size_t k = 0; k <= n / 2; ++k) {
      const auto re = row_at<kLanes>(spectrum + 2 * k * kLanes), im = row_at<kLanes>(spectrum + (2 * k + 1) * kLanes);
      const size_t mirrored = n - k;
      row_at<kLanes>(rows + place[k]) += scale[k] * (re - im);
      if (k == 0 || mirrored == k) continue;
      row_at<kLanes>(rows + place[mirrored]) += scale[mirrored] * (re + im);
    }
  });
}

}  // namespace

std::string Refiner::why_not(const MelOptions& recipe, const RefineOptions& options) {
  if (!FloatLaneFft::serves(recipe.n_fft)) {
    return "refining a sound wants an n_fft that is a power of two, not " + std::to_string(recipe.n_fft);
  }
  if (auto why = RefiningBank::why_not(recipe); !why.empty()) return why;
  const int least = RefineOptions::least_delay(recipe), most = kFftLanes - 1;
  if (options.delay >= least && options.delay <= most) return "";
  return "refining a sound wants a delay from " + std::to_string(least) + " to " + std::to_string(most) +
         " hops, not " + std::to_string(options.delay);
}

Refiner::Refiner(const MelOptions& recipe, const RefineOptions& options)
    : recipe_(checked(recipe, options)),
      options_(options),
      hop_(recipe.hop_length),
      pad_(recipe.stft().pad_length()),
      rows_in_frame_(recipe.n_fft / recipe.hop_length),
      bank_(recipe),
      lanes_(options.delay < static_cast<int>(kFewLanes) ? kFewLanes : kFftLanes),
      stride_(rows_in_frame_ + static_cast<int64_t>(lanes_)),
      places_(in_rows(recipe, stride_)),
      analysis_(bank_.window(), places_, recipe.stft().bins(), static_cast<int>(lanes_)),
      synthesis_(std::vector<double>(static_cast<size_t>(recipe.n_fft), 1.0),
                 FloatLaneFft::side_by_side(recipe.n_fft, static_cast<int>(lanes_)), recipe.stft().bins(),
                 static_cast<int>(lanes_)) {
  const auto n = static_cast<size_t>(recipe.n_fft), bins = n / 2 + 1;
  const auto &window = bank_.window(), &overlap = bank_.overlap();
  for (size_t t = 0; t < n; ++t) {
    scale_.push_back(static_cast<float>(window[t] / overlap[t % overlap.size()] / static_cast<double>(n)));
  }
  x_.resize(static_cast<size_t>(hop_ * stride_));
  v_ = y_ = x_;
  wanted_.resize(static_cast<size_t>(bank_.bands()) * lanes_);
  bands_ = wanted_;
  live_.resize(lanes_);
  spectrum_.resize(2 * bins * lanes_);
  magnitudes_.resize(bins * lanes_);
  gains_.assign(magnitudes_.size(), 1.0f);
  hartley_.resize(n * lanes_);
}

void Refiner::push(std::span<const float> frames, std::span<const float> samples, std::vector<float>& out) {
  const auto n_mels = static_cast<size_t>(recipe_.n_mels), bands = static_cast<size_t>(bank_.bands());
  for (size_t at = 0; at < frames.size(); at += n_mels) {
    targets_.resize(targets_.size() + bands);
    bank_.wanted(frames.subspan(at, n_mels), std::span(targets_).last(bands));
  }
  taken_ += static_cast<int64_t>(samples.size());
  waiting_.insert(waiting_.end(), samples.begin(), samples.end());
  if (!started_) {
    if (static_cast<int64_t>(waiting_.size()) <= pad_) return;
    started_ = true;
    std::vector<float> before(static_cast<size_t>(pad_));
    copy_padded(waiting_, recipe_.pad, -pad_, before);
    waiting_.insert(waiting_.begin(), before.begin(), before.end());
  }
  take_rows(out);
}

void Refiner::take_rows(std::vector<float>& out) {
  const auto bands = static_cast<size_t>(bank_.bands());
  size_t used = 0, seen = 0;  // of waiting_ and targets_
  for (; waiting_.size() - used >= static_cast<size_t>(hop_); used += static_cast<size_t>(hop_)) {
    const bool begins_frame = rows_ + 1 >= rows_in_frame_;
    if (begins_frame && targets_.size() - seen < bands) break;  // its frame is still to come, or there is none
    if (frames_ > options_.delay) drop_row();
    for (int64_t t = 0; t < hop_; ++t) {
      const auto place = static_cast<size_t>(t * stride_ + rows_ - first_row_);
      x_[place] = waiting_[used + static_cast<size_t>(t)];
      v_[place] = 0;
    }
    ++rows_;
    if (!begins_frame) continue;
    for (size_t m = 0; m < bands; ++m) wanted_[m * lanes_ + static_cast<size_t>(frames_)] = targets_[seen + m];
    seen += bands;
    ++frames_;
    correct();
    give(rows_ - options_.delay, out);
  }
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(used));
  targets_.erase(targets_.begin(), targets_.begin() + static_cast<ptrdiff_t>(seen));
}

/// The oldest frame leaves the window.
void Refiner::drop_row() {
  const auto shift = [](std::vector<float>& values, int64_t length) {
    for (auto line = values.begin(); line != values.end(); line += length) {
      std::copy(line + 1, line + length, line);
      line[length - 1] = 0;
    }
  };
  shift(x_, stride_);
  shift(v_, stride_);
  shift(wanted_, static_cast<int64_t>(lanes_));
  ++first_row_;
  --frames_;
}

/// The passes over the frames of the window.
void Refiner::correct() {
  const auto n = static_cast<size_t>(recipe_.n_fft), stride = static_cast<size_t>(stride_);
  const auto given = static_cast<ptrdiff_t>(std::max<int64_t>(0, given_rows_ - first_row_));
  const auto momentum = static_cast<float>(options_.momentum);
  for (size_t lane = 0; lane < lanes_; ++lane) live_[lane] = static_cast<int64_t>(lane) < frames_ ? 1.0f : 0.0f;
  for (size_t i = 0; i < x_.size(); ++i) y_[i] = x_[i] + momentum * v_[i];
  for (int pass = 0; pass < options_.passes; ++pass) {
    analysis_.spectrum(y_.data(), static_cast<int>(lanes_), spectrum_.data());
    find_gains();
    hartley_of_correction(spectrum_.data(), gains_.data(), live_.data(), n, lanes_, hartley_.data());
    synthesis_.spectrum(hartley_.data(), static_cast<int>(lanes_), spectrum_.data());
    overlap_add(spectrum_.data(), scale_.data(), places_.data(), n, lanes_, y_.data());
    // What was given out stays.
    for (size_t line = 0; line < x_.size(); line += stride) {
      std::copy_n(x_.begin() + static_cast<ptrdiff_t>(line), given, y_.begin() + static_cast<ptrdiff_t>(line));
    }
    momentum_step(momentum, x_.size(), x_.data(), v_.data(), y_.data());
  }
}

/// From the spectra: what each bin is to be multiplied by.
void Refiner::find_gains() {
  magnitudes_of(spectrum_.data(), static_cast<float>(recipe_.magnitude_epsilon), bank_.heard().size(), lanes_,
                magnitudes_.data());
  to_bands(bank_.bank(), magnitudes_.data(), lanes_, bands_.data());
  const auto floor = static_cast<float>(recipe_.log_floor);
  const size_t mels = bands_.size() - lanes_;  // the treble comes last
  gains_of_bands(wanted_.data(), floor, RefiningBank::kMostGain, mels, bands_.data());
  gains_of_bands(wanted_.data() + mels, floor, 1.0f, lanes_, bands_.data() + mels);
  to_bins(bank_.spreading(), bands_.data(), lanes_, gains_.data());
}

float Refiner::at(int64_t place) const {
  if (const int64_t waiting = place - rows_ * hop_; waiting >= 0) return waiting_[static_cast<size_t>(waiting)];
  return x_[static_cast<size_t>(place % hop_ * stride_ + place / hop_ - first_row_)];
}

/// Appends all up to a row, less the padding.
void Refiner::give(int64_t rows, std::vector<float>& out) {
  for (; given_rows_ < rows; ++given_rows_) {
    const int64_t begin = given_rows_ * hop_;
    for (int64_t t = 0; t < hop_; ++t) {
      auto& v = v_[static_cast<size_t>(t * stride_ + given_rows_ - first_row_)];
      v = 0;
      if (begin + t < pad_ || given_ == taken_) continue;
      out.push_back(at(begin + t));
      ++given_;
    }
  }
}

void Refiner::finish(std::vector<float>& out) {
  if (!started_) {  // too short to be padded, and so for a spectrum: left as it is
    out.insert(out.end(), waiting_.begin(), waiting_.end());
    return;
  }
  const int64_t end = pad_ + taken_;
  std::vector<float> after(static_cast<size_t>(pad_));
  if (recipe_.pad == Padding::reflect) {
    for (int64_t i = 0; i < pad_; ++i) after[static_cast<size_t>(i)] = at(end - 2 - i);
  }
  waiting_.insert(waiting_.end(), after.begin(), after.end());
  take_rows(out);
  give(rows_, out);
  for (; given_ < taken_; ++given_) out.push_back(at(pad_ + given_));
}

}  // namespace melflow::audio
