#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <torch/types.h>
#include <nlohmann/json_fwd.hpp>

#include "audio/waveform.h"
#include "engine/eval/recordings.h"
#include "engine/model_voice.h"

namespace melflow::engine {

/// What is measured of one way of making the sound again; NaN where it is not known or makes no sense.
struct Measures {
  static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  double log_stft = kUnknown, spectral_convergence = kUnknown, mel_l1 = kUnknown;  // audio/quality.h
  double nats_per_sample = kUnknown;                                               // eval/score.h
  double pesq = kUnknown;                                                          // eval/pesq.h
  double voicing_f1 = kUnknown, pitch_error_cents = kUnknown, hum_db = kUnknown;   // audio/quality.h
  double real_time_factor = kUnknown;  ///< seconds of sound per second of computing
};

/// The measures by the names that tables and JSON give them, and which way is the better one.
struct MeasureName {
  const char* key;
  double Measures::*value;
  const char* better;
};
inline constexpr MeasureName kMeasures[] = {{"log_stft", &Measures::log_stft, "lower"},
                                            {"spectral_convergence", &Measures::spectral_convergence, "lower"},
                                            {"mel_l1", &Measures::mel_l1, "lower"},
                                            {"nats_per_sample", &Measures::nats_per_sample, "lower"},
                                            {"pesq", &Measures::pesq, "higher"},
                                            {"voicing_f1", &Measures::voicing_f1, "higher"},
                                            {"pitch_error_cents", &Measures::pitch_error_cents, "lower"},
                                            {"hum_db", &Measures::hum_db, "near 0"},
                                            {"real_time_factor", &Measures::real_time_factor, "higher"}};

/// How the synthesis differs from the recording that it should equal; both at the recipe's rate, cut to the shorter.
Measures measure(const audio::Waveform& recording, const audio::Waveform& synthesis, const audio::MelOptions& recipe,
                 int64_t group_size);

struct EvalOptions {
  double sigma = -1.0;   ///< of the noise; negative: the voice's own
  int64_t draws = 0;     ///< of noise for each group; 0: the voice's own
  int64_t refine = -1;   ///< passes that bring the sound nearer to the mel; negative: the voice's own
  float denoise = 0.0f;  ///< strength of the denoiser
  uint64_t seed = 0;     ///< of the noise, the same for every recording
  torch::Device device = torch::kCPU;
  int griffin_lim_iterations = 60;
  size_t keep_sounds = 0;  ///< the first so many recordings keep their sounds, for a page
};

/// One recording, brought to the voice's level, and what was made of its mel.
struct EvalItem {
  std::string name;  ///< as Clips::name() gives it
  double seconds = 0.0, gain = 1.0;
  Measures voice, griffin_lim, refined_noise;
  size_t first_pair = 0;         ///< of PESQ's pairs: the voice's, behind it Griffin-Lim's and refined noise's
  std::vector<float> per_frame;  ///< nats per sample of each mel frame
  /// Empty where not kept: what was recorded, what the voice and what Griffin-Lim make of its mel.
  audio::Waveform recording, synthesis, griffin_lim_sound;
};

struct Evaluation {
  std::string voice;      ///< name of its file
  audio::MelOptions mel;  ///< the voice's recipe
  double sigma = 1.0;
  int64_t draws = 1, refine = 0;
  float denoise = 0.0f;
  uint64_t seed = 0;
  std::vector<EvalItem> items;
  std::vector<Failure> failures;
  std::string pesq_absent;  ///< why there is no PESQ; empty where there is

  /// The recordings where a measure is known of the voice and of both floors (of those of them that have it at all):
  /// who fails on one should not gain by it.
  std::vector<const EvalItem*> compared(double Measures::*measure) const;
  /// Each measure's mean over these; NaN of what is known on none.
  Measures mean(Measures EvalItem::*way) const;
};

/// Synthesises every recording from its own mel and measures it; from the same mel beside it, as the floors to beat,
/// Griffin-Lim and refined noise (refined_noise.h; not known where the recipe does not allow it). A recording that
/// fails is told in `failures`. `report` hears of (finished, of how many).
Evaluation evaluate(const ModelVoice& voice, const Clips& recordings, const EvalOptions& options,
                    const std::function<bool()>& stop, const std::function<void(size_t, size_t)>& report);

/// The means under the names of kMeasures, "griffin_lim" and "refined_noise" with their own, "compared" with how many
/// recordings each is of, and "recordings" with one object of measures each.
nlohmann::json to_json(const Evaluation& evaluation);

}  // namespace melflow::engine
