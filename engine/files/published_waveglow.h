#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "engine/files/checkpoint_file.h"

namespace melflow::files {

/// A WaveGlow that somebody published, in this project's terms: sizes, and float32 tensors under the names of
/// models::WaveGlow, as views into the checkpoint wherever they are float32 there already.
struct PublishedWaveGlow {
  std::string layout;  ///< which of the published layouts it is, for people
  int64_t n_mels = 0, hop_length = 0, n_flows = 0, group_size = 0, early_every = 0, early_size = 0;
  int64_t upsample_kernel = 0, wavenet_layers = 0, wavenet_channels = 0, wavenet_kernel = 0;
  bool swap_odd_halves = false;               ///< the first release (2018): odd flows swap the halves
  std::map<std::string, std::string> recipe;  ///< what is stored of the mel's recipe: audio::set_mel_option's names
  std::map<std::string, TensorView> tensors;
  Arrays made;
};

/// The path before "convinv.0.conv.weight": "", "module.", "state_dict.module.1.", …; nothing where there is no such
/// tensor. Where a file holds several WaveGlows, the first of the shortest paths.
std::optional<std::string> waveglow_path(const std::map<std::string, StridedTensor>& tensors);

/// Reads any published layout: weight norm as g and v, as parametrizations or removed; one fused conditioning
/// convolution or one a layer; residual and skip convolutions fused or apart (2018); NeMo's names. The configuration
/// is what the file stores beside the weights, else what the shapes say; both must agree. Every tensor must be there,
/// shape for shape, finite, and belong to the model. A derived `weight` beside g and v is never read.
/// Throws Error{bad_data} that names the tensor.
PublishedWaveGlow read_published_waveglow(const Checkpoint& checkpoint, const std::string& name);

/// The other way: tensors of models::WaveGlow (a float32 voice with conditioning at the sample rate) under the names
/// and shapes of NVIDIA's current class.
std::map<std::string, TensorView> nvidia_state_dict(const std::map<std::string, TensorView>& ours);

}  // namespace melflow::files
