#include "audio/refine.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "audio/fft.h"
#include "audio/refining_bank.h"
#include "base/error.h"

namespace melflow::audio {
namespace {

/// The state of the plain version. Places count from the beginning of the padding before the sound.
class Plain {
 public:
  Plain(std::span<const float> samples, const Mel& mel, const MelOptions& recipe, const RefineOptions& options)
      : mel_(mel),
        recipe_(recipe),
        options_(options),
        bank_(recipe),
        fft_(recipe.n_fft),
        pad_(recipe.stft().pad_length()),
        end_(pad_ + static_cast<int64_t>(samples.size())),
        x_(static_cast<size_t>(end_ + pad_)),
        v_(x_.size()) {
    std::copy(samples.begin(), samples.end(), x_.begin() + pad_);
    if (recipe.pad == Padding::reflect) mirror(pad_, -1);
  }

  void run() {
    bool ended = false;
    for (int64_t frame = 0; frame < mel_.frames; ++frame) {
      if (!ended && frame * hop() + recipe_.n_fft > end_) {
        ended = true;
        if (recipe_.pad == Padding::reflect) mirror(end_ - 1, 1);
      }
      const int64_t newest = frame + recipe_.n_fft / hop() - 1;  // row
      const int64_t given = std::max<int64_t>(0, newest - options_.delay) * hop();
      std::fill_n(v_.begin(), given, 0.0);
      for (int pass = 0; pass < options_.passes; ++pass) correct(frame, given);
    }
  }

  std::vector<float> sound() const { return {x_.begin() + pad_, x_.begin() + end_}; }

 private:
  int64_t hop() const { return recipe_.hop_length; }

  void mirror(int64_t centre, int64_t direction) {
    for (int64_t i = 1; i <= pad_; ++i) {
      x_[static_cast<size_t>(centre + direction * i)] = x_[static_cast<size_t>(centre - direction * i)];
    }
  }

  /// One pass over the last frames up to `newest`, which changes samples from `given` on.
  void correct(int64_t newest, int64_t given) {
    const int64_t first = std::max<int64_t>(0, newest - options_.delay), n = recipe_.n_fft;
    const int64_t begin = first * hop(), end = newest * hop() + n;
    std::vector<double> change(static_cast<size_t>(end - begin));
    for (int64_t frame = first; frame <= newest; ++frame) {
      const int64_t at = frame * hop();
      auto real = fft_.real();
      for (int64_t t = 0; t < n; ++t) {
        const auto place = static_cast<size_t>(at + t), i = static_cast<size_t>(t);
        real[i] = (x_[place] + options_.momentum * v_[place]) * bank_.window()[i];
      }
      fft_.forward();
      const auto gains = gains_of(fft_.spectrum(), frame);
      auto spectrum = fft_.spectrum();
      for (size_t k = 0; k < gains.size(); ++k) spectrum[k] *= (gains[k] - 1) / static_cast<double>(n);
      fft_.inverse();
      for (int64_t t = 0; t < n; ++t) {
        const auto i = static_cast<size_t>(t);
        change[static_cast<size_t>(at - begin + t)] +=
            real[i] * bank_.window()[i] / bank_.overlap()[static_cast<size_t>(t % hop())];
      }
    }
    for (int64_t place = std::max(begin, given); place < end; ++place) {
      const auto i = static_cast<size_t>(place);
      const double now = x_[i] + options_.momentum * v_[i] + change[static_cast<size_t>(place - begin)];
      v_[i] = now - x_[i];
      x_[i] = now;
    }
  }

  /// What each bin of a frame is to be multiplied by.
  std::vector<double> gains_of(std::span<const std::complex<double>> spectrum, int64_t frame) const {
    std::vector<double> bands(static_cast<size_t>(bank_.bands())), gains(spectrum.size());
    for (const auto& e : bank_.bank().entries) {
      const double power = std::norm(spectrum[static_cast<size_t>(e.bin)]) + recipe_.magnitude_epsilon;
      bands[static_cast<size_t>(e.band)] += e.weight * std::sqrt(power);
    }
    std::vector<float> mel, wanted(bands.size());
    append_frames(mel_, static_cast<int>(frame), 1, mel);
    bank_.wanted(mel, wanted);
    for (size_t m = 0; m < bands.size(); ++m) {
      const double most = m < mel.size() ? RefiningBank::kMostGain : 1.0;
      bands[m] = std::clamp<double>(wanted[m] / std::max(bands[m], recipe_.log_floor), RefiningBank::kLeastGain, most);
    }
    for (const auto& e : bank_.spreading().entries) {
      gains[static_cast<size_t>(e.bin)] += e.weight * bands[static_cast<size_t>(e.band)];
    }
    for (size_t k = 0; k < gains.size(); ++k) gains[k] = bank_.heard()[k] ? gains[k] : 1.0;
    return gains;
  }

  const Mel& mel_;
  MelOptions recipe_;
  RefineOptions options_;
  RefiningBank bank_;
  RealFft fft_;
  int64_t pad_, end_;          // places before the sound, and where it ends
  std::vector<double> x_, v_;  // the sound, padded, and how it changed in the last pass
};

}  // namespace

RefineOptions RefineOptions::of(const MelOptions& recipe, int64_t passes) {
  RefineOptions out{.passes = static_cast<int>(passes)};
  out.delay = std::max(out.delay, least_delay(recipe));
  return out;
}

std::vector<float> refine(std::span<const float> samples, const Mel& mel, const MelOptions& recipe,
                          const RefineOptions& options) {
  if (mel.n_mels != recipe.n_mels ||
      static_cast<int64_t>(samples.size()) != static_cast<int64_t>(mel.frames) * recipe.hop_length) {
    throw Error(Exit::bad_data, "the mel is [" + std::to_string(mel.n_mels) + ", " + std::to_string(mel.frames) +
                                    "], which is not that of " + std::to_string(samples.size()) + " samples in " +
                                    std::to_string(recipe.n_mels) + " bands");
  }
  Plain plain(samples, mel, recipe, options);
  // Too short to be padded, and so for a spectrum: left as it is.
  if (static_cast<int64_t>(samples.size()) > recipe.stft().pad_length()) plain.run();
  return plain.sound();
}

}  // namespace melflow::audio
