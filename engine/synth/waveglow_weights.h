#pragma once

#include <map>
#include <string>
#include <vector>

#include "cpu/panel_matrix.h"
#include "engine/files/safetensors.h"
#include "models/waveglow_options.h"

namespace melflow::engine {

/// A WaveGlow's weights, packed once for WaveGlowStream; any number of streams share one copy. Weight norm is folded,
/// the 1x1 convolutions are inverted in double, and because `end` is linear, each layer's skip output goes through it
/// at once: end(Σ skip) = Σ end·skip, a handful of numbers instead of `channels` for each layer.
struct WaveGlowWeights {
  struct Layer {
    int dilation = 1;
    int side = 1;  ///< rows to each side that the convolution sees: dilation·(kernel - 1)/2
    /// [context + kernel·channels, 2·channels]: a segment of context, then one for each tap from past to future.
    /// Columns in pairs: the first half of a panel goes through tanh, the other half is its gate.
    cpu::PanelMatrix gate;
    cpu::PanelMatrix residual;  ///< [channels, channels]; none in the last layer
    cpu::PanelMatrix
        skip;  ///< [channels, 2·moved]: this layer's share of (shift, log s); all biases in the first layer
  };
  struct Flow {
    int channels, kept, moved;
    int kept_at, moved_at;   ///< where the two halves begin: the first release swaps them in odd flows
    int early;               ///< channels of noise that join in front afterwards
    int early_at;            ///< which rows of the noise they are
    cpu::PanelMatrix start;  ///< [kept, channels]
    std::vector<Layer> layers;
    std::vector<float> inverse;  ///< [channels, channels], of the 1x1 convolution
  };

  /// `tensors` must be those that the options ask for (model_options.h). Throws Error{bad_data} where a 1x1 convolution
  /// has no inverse.
  WaveGlowWeights(const models::WaveGlowOptions& options, const std::map<std::string, files::TensorView>& tensors,
                  cpu::Precision precision = cpu::Precision::fp32,
                  const cpu::TileKernels& kernels = cpu::tile_kernels());

  const cpu::TileKernels* kernels;
  cpu::Precision precision;  ///< of gate, residual and skip; all else is float32
  int n_mels, hop_length, group_size;
  int kernel;                 ///< taps of the dilated convolutions
  int channels;               ///< of the WaveNets
  int stride;                 ///< floats from row to row of `channels` numbers: whole panels
  int context_channels;       ///< of a row of context
  int groups_per_frame;       ///< groups of samples in a mel frame
  bool at_frames;             ///< conditioning is frame_rate: a row of context is a frame's
  int groups_per_row;         ///< groups that share a row of context: 1, or groups_per_frame
  int flow_side;              ///< groups to each side that a flow's WaveNet sees
  cpu::PanelMatrix upsample;  ///< sample_rate: [history·n_mels, groups_per_frame·context], frames from past to present
  int upsample_taps = 1;      ///< frames in a row of it
  cpu::PanelMatrix encoder[2];  ///< frame_rate: [3·inputs, context], frames from past to future; SiLU follows each
  std::vector<Flow> flows;      ///< in the order of the inverse: the last flow first

  int64_t side() const { return static_cast<int64_t>(flow_side) * static_cast<int64_t>(flows.size()); }
  size_t bytes() const;
};

}  // namespace melflow::engine
