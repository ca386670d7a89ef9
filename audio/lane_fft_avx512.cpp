#include "audio/lane_fft_kernels.h"

namespace melflow::audio {
extern const LaneFftKernelSet kAvx512LaneFftKernels = {make_lane_fft_kernels<double, 8>("avx512"),
                                                       make_lane_fft_kernels<float, 8>("avx512"),
                                                       make_lane_fft_kernels<float, 16>("avx512, 16 lanes")};
}  // namespace melflow::audio
