#include "audio/refiner.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "audio/error.h"
#include "cpu/clones.h"

namespace melflow::audio {
namespace {

// All that is computed for frames lies [.., kLanes]; loops go over the first `width` lanes, whole parts of them.
constexpr size_t kLanes = kFftLanes, kPart = 8;

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
void go_on(float momentum, size_t n, float* __restrict x, float* __restrict v, float* __restrict y) {
  for (size_t i = 0; i < n; ++i) {
    v[i] = y[i] - x[i];
    x[i] = y[i];
    y[i] += momentum * v[i];
  }
}

MELFLOW_CPU_CLONES
void magnitudes_of(const float* __restrict spectrum, float epsilon, size_t bins, size_t width, float* __restrict out) {
  for (size_t k = 0; k < bins; ++k, spectrum += 2 * kLanes, out += kLanes) {
    for (size_t part = 0; part < width; part += kPart) {
      for (size_t l = part; l < part + kPart; ++l) {
        const float re = spectrum[l], im = spectrum[kLanes + l];
        out[l] = std::sqrt(re * re + im * im + epsilon);
      }
    }
  }
}

/// out[to] += weight·in[from] for every entry of the bank, bands from bins or bins from bands.
template <bool kToBands>
inline void apply(const SparseBank& bank, const float* __restrict in, size_t width, float* __restrict out) {
  for (const auto& e : bank.entries) {
    const auto* from = in + static_cast<size_t>(kToBands ? e.bin : e.band) * kLanes;
    auto* to = out + static_cast<size_t>(kToBands ? e.band : e.bin) * kLanes;
    for (size_t part = 0; part < width; part += kPart) {
      for (size_t l = part; l < part + kPart; ++l) to[l] += e.weight * from[l];
    }
  }
}
MELFLOW_CPU_CLONES
void to_bands(const SparseBank& bank, const float* bins, size_t width, float* bands) {
  apply<true>(bank, bins, width, bands);
}
MELFLOW_CPU_CLONES
void to_bins(const SparseBank& bank, const float* bands, size_t width, float* bins) {
  apply<false>(bank, bands, width, bins);
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
/// (gain - 1)·spectrum: Hartley's transform is its own inverse (Bracewell 1983), so one direction serves both.
MELFLOW_CPU_CLONES
void arrange(const float* __restrict spectrum, const float* __restrict gains, size_t n, size_t width, float* out) {
  for (size_t k = 0; k <= n / 2; ++k, spectrum += 2 * kLanes, gains += kLanes) {
    float* low = out + k * kLanes;
    float* high = out + (n - k) % n * kLanes;
    for (size_t part = 0; part < width; part += kPart) {
      for (size_t l = part; l < part + kPart; ++l) {
        const float re = spectrum[l], im = spectrum[kLanes + l], change = gains[l] - 1.0f;
        high[l] = change * (re + im);
        low[l] = change * (re - im);
      }
    }
  }
}

/// rows += scale·the inverse transform, of which sample t of frame `lane` belongs to rows[t % hop][t / hop + lane].
MELFLOW_CPU_CLONES
void overlap_add(const float* __restrict spectrum, const float* __restrict scale, size_t n, size_t hop, size_t stride,
                 size_t width, float* rows) {
  for (size_t k = 0; k <= n / 2; ++k, spectrum += 2 * kLanes) {
    const size_t mirrored = n - k;
    for (size_t part = 0; part < width; part += kPart) {
      float* low = rows + k % hop * stride + k / hop + part;
      for (size_t l = 0; l < kPart; ++l) {
        low[l] += scale[k] * (spectrum[part + l] - spectrum[kLanes + part + l]);
      }
      if (k == 0 || mirrored == k) continue;
      float* high = rows + mirrored % hop * stride + mirrored / hop + part;
      for (size_t l = 0; l < kPart; ++l) {
        high[l] += scale[mirrored] * (spectrum[part + l] + spectrum[kLanes + part + l]);
      }
    }
  }
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
      stride_(rows_in_frame_ + kFftLanes),
      analysis_(bank_.window(), in_rows(recipe, stride_), recipe.stft().bins()),
      synthesis_(std::vector<double>(static_cast<size_t>(recipe.n_fft), 1.0), FloatLaneFft::side_by_side(recipe.n_fft),
                 recipe.stft().bins()) {
  const auto n = static_cast<size_t>(recipe.n_fft), bins = n / 2 + 1;
  const auto &window = bank_.window(), &overlap = bank_.overlap();
  for (size_t t = 0; t < n; ++t) {
    scale_.push_back(static_cast<float>(window[t] / overlap[t % overlap.size()] / static_cast<double>(n)));
  }
  for (const bool heard : bank_.heard()) unheard_.insert(unheard_.end(), kLanes, heard ? 0.0f : 1.0f);
  x_.resize(static_cast<size_t>(hop_ * stride_));
  v_ = y_ = x_;
  wanted_.resize(static_cast<size_t>(bank_.bands()) * kLanes);
  bands_ = wanted_;
  spectrum_.resize(2 * bins * kLanes);
  gains_.resize(bins * kLanes);
  hartley_.resize(n * kLanes);
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
    for (size_t m = 0; m < bands; ++m) wanted_[m * kLanes + static_cast<size_t>(frames_)] = targets_[seen + m];
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
  shift(wanted_, kFftLanes);
  ++first_row_;
  --frames_;
}

/// The passes over the frames of the window.
void Refiner::correct() {
  const auto n = static_cast<size_t>(recipe_.n_fft), hop = static_cast<size_t>(hop_);
  const auto stride = static_cast<size_t>(stride_), frames = static_cast<size_t>(frames_);
  const size_t width = (frames + kPart - 1) / kPart * kPart;
  const auto given = static_cast<ptrdiff_t>(std::max<int64_t>(0, given_rows_ - first_row_));
  const auto momentum = static_cast<float>(options_.momentum);
  for (size_t i = 0; i < x_.size(); ++i) y_[i] = x_[i] + momentum * v_[i];
  for (int pass = 0; pass < options_.passes; ++pass) {
    analysis_.spectrum(y_.data(), static_cast<int>(width), spectrum_.data());
    find_gains(frames, width);
    arrange(spectrum_.data(), gains_.data(), n, width, hartley_.data());
    synthesis_.spectrum(hartley_.data(), static_cast<int>(width), spectrum_.data());
    overlap_add(spectrum_.data(), scale_.data(), n, hop, stride, width, y_.data());
    // What was given out stays.
    for (size_t line = 0; line < x_.size(); line += stride) {
      std::copy_n(x_.begin() + static_cast<ptrdiff_t>(line), given, y_.begin() + static_cast<ptrdiff_t>(line));
    }
    go_on(momentum, x_.size(), x_.data(), v_.data(), y_.data());
  }
}

/// From the spectra: what each bin is to be multiplied by.
void Refiner::find_gains(size_t frames, size_t width) {
  magnitudes_of(spectrum_.data(), static_cast<float>(recipe_.magnitude_epsilon), bank_.heard().size(), width,
                gains_.data());
  std::fill(bands_.begin(), bands_.end(), 0.0f);
  to_bands(bank_.bank(), gains_.data(), width, bands_.data());
  const auto floor = static_cast<float>(recipe_.log_floor);
  const size_t mels = bands_.size() - kLanes;  // the treble comes last
  gains_of_bands(wanted_.data(), floor, RefiningBank::kMostGain, mels, bands_.data());
  gains_of_bands(wanted_.data() + mels, floor, 1.0f, kLanes, bands_.data() + mels);
  gains_ = unheard_;
  to_bins(bank_.spreading(), bands_.data(), width, gains_.data());
  for (size_t lane = frames; lane < width; ++lane) {  // there is no such frame yet
    for (size_t i = lane; i < gains_.size(); i += kLanes) gains_[i] = 1;
  }
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
