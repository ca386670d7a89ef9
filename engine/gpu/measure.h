#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/gpu/device.h"
#include "engine/gpu/speak.h"

namespace melflow::gpu {

/// One line of a table: what was measured, and its numbers by name.
struct Measured {
  std::string what;
  std::vector<std::pair<std::string, double>> numbers;
  std::string json() const;
};
using Report = std::function<void(const Measured&)>;

/// What bench() looks at before and after each row, probe_tflops_before and probe_tflops_after: a row between two looks
/// that differ was not measured on a quiet device.
inline constexpr const char* kProbe = "16 utterances through the whole model, again and again";

/// Small models of every kind in every tile and cut, against the plain inverse in double (snr_db) and against each
/// other (same_bits: 1); `all` of them, or the first. → whether all is as it must be: 40 dB, and the same bits.
bool check(const std::shared_ptr<Device>& device, bool all, const Report& report);

/// What the paper's model (random weights) costs on the device: one utterance of 10 s, batches of them, chunks of 32
/// frames. samples_per_s and tflops are the device's own time without copies; tflops counts the published network's
/// operations, tflops_done what is left when matrices are folded, share_of_peak that of the data sheet's dense bfloat16
/// peak, where we know the device. snr_db: of four frames in each slot, in passes of the same length, so by the kernels
/// that are timed, against the plain inverse in double; the worst slot's.
void bench(const std::shared_ptr<Device>& device, const Report& report);

/// For others to measure themselves by: the model, `seconds` of input and what the device makes of it, as raw float32
/// in `folder`: weights.f32 (PlainWaveGlow::each), mel.f32, z.f32, audio.f32.
void dump(const std::shared_ptr<Device>& device, const std::string& folder, double seconds);

}  // namespace melflow::gpu
