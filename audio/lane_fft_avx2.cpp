#include "audio/lane_fft_kernels.h"

namespace melflow::audio {
extern const LaneFftKernelSet kAvx2LaneFftKernels = {
    make_lane_fft_kernels<double, 4>("avx2+fma"), make_lane_fft_kernels<float, 8>("avx2+fma"), {}};
}  // namespace melflow::audio
