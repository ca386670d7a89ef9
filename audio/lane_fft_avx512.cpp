#include "audio/lane_fft_kernels.h"

namespace melflow::audio {
extern const LaneFftKernels kAvx512LaneFftKernels = make_lane_fft_kernels<8>("avx512");
}  // namespace melflow::audio
