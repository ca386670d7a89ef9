#include "audio/lane_fft_kernels.h"

namespace melflow::audio {
extern const LaneFftKernels kAvx2LaneFftKernels = make_lane_fft_kernels<4>("avx2+fma");
}  // namespace melflow::audio
