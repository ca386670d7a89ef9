#include "audio/lane_fft_kernels.h"

namespace melflow::audio {
extern const LaneFftKernels kPortableLaneFftKernels = make_lane_fft_kernels<2>("portable");
}  // namespace melflow::audio
