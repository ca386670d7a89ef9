#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "engine/files/checkpoint_file.h"
#include "engine/files/waveglow_names.h"

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

/// Reads any published layout: weight norm as g and v, as parametrizations or removed; one fused conditioning
/// convolution or one a layer; residual and skip convolutions fused or apart (2018); NeMo's names. The configuration
/// is what the file stores beside the weights, else what the shapes say; both must agree. Every tensor must be there,
/// shape for shape, finite, and belong to the model. A derived `weight` beside g and v is never read.
/// Throws Error{bad_data} that names the tensor.
PublishedWaveGlow read_published_waveglow(const Checkpoint& checkpoint, const std::string& name);

}  // namespace melflow::files
