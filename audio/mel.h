#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "audio/stft.h"
#include "audio/waveform.h"

namespace melflow::audio {

enum class MelScale { slaney, htk };  ///< Slaney's Auditory Toolbox (linear below 1 kHz) or HTK's 2595·log10(1 + f/700)
enum class MelNorm { slaney, none };  ///< triangles of equal area, 2/(f[m+2] - f[m]), or of peak 1

/// The recipe of a mel spectrogram; the defaults are NVIDIA's WaveGlow. A mel made with another recipe is noise
/// to a voice, so files carry theirs.
struct MelOptions {
  int sample_rate = 22050;  ///< Hz
  int n_fft = 1024;         ///< samples, even
  int hop_length = 256;     ///< samples
  int win_length = 1024;    ///< samples; a periodic Hann window, centred in n_fft
  int n_mels = 80;
  double f_min = 0.0;     ///< Hz
  double f_max = 8000.0;  ///< Hz
  MelScale scale = MelScale::slaney;
  MelNorm norm = MelNorm::slaney;
  Padding pad = Padding::reflect;
  bool centre = true;              ///< pad n_fft/2 each side (frames = N/hop + 1); false: (n_fft - hop)/2 (HiFi-GAN's)
  double magnitude_epsilon = 0.0;  ///< magnitude = sqrt(re² + im² + epsilon)
  double log_floor = 1e-5;         ///< value = ln(max(mel, log_floor))

  /// How the signal is cut into frames.
  StftOptions stft() const { return {n_fft, hop_length, win_length, pad, centre}; }

  bool operator==(const MelOptions&) const = default;

  /// Throws Error{config} that names the first field that makes no sense.
  void validate() const;
};

/// The recipes known by name: "waveglow", "hifigan".
std::span<const std::string> mel_recipe_names();
/// One of them. Throws Error{config} with the nearest name otherwise.
MelOptions mel_recipe(const std::string& name);

/// Sets one field from text, by the names of `melflow mel --set` (sample_rate, n_fft, hop_length, win_length, n_mels,
/// f_min, f_max, scale, norm, pad, centre, magnitude_epsilon, log_floor). Throws Error{config}.
void set_mel_option(MelOptions& options, const std::string& key, const std::string& value);

/// All fields in the order of declaration as (key, value) text; set_mel_option reads each back exactly.
std::vector<std::pair<std::string, std::string>> mel_options_as_text(const MelOptions& options);

/// The name of the first field in which two recipes differ, with both values ("hop_length is 256, not 300");
/// empty where they agree.
std::string first_difference(const MelOptions& a, const MelOptions& b);

/// Log-mel spectrogram.
struct Mel {
  int n_mels = 0;
  int frames = 0;
  std::vector<float> values;         ///< [n_mels, frames], row-major, natural log
  std::optional<MelOptions> recipe;  ///< absent when a file did not say
};

/// Appends frames [first, first + count) of a mel, n_mels numbers each: the order in which streams take them.
void append_frames(const Mel& mel, int first, int count, std::vector<float>& frames);

/// Triangular filterbank [n_mels, n_fft/2 + 1], row-major, as librosa.filters.mel computes it (in double).
std::vector<double> mel_filterbank(const MelOptions& options);

/// Waveform → Mel. One object serves one thread; plans are made under one process-wide lock, and any number of
/// objects compute at once.
class MelExtractor {
 public:
  explicit MelExtractor(const MelOptions& options);
  ~MelExtractor();
  MelExtractor(MelExtractor&&) noexcept;
  MelExtractor& operator=(MelExtractor&&) noexcept;

  const MelOptions& options() const;

  /// Throws Error{bad_data} where the rate differs from the recipe's or the waveform is too short to be padded.
  Mel operator()(const Waveform& waveform);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace melflow::audio
