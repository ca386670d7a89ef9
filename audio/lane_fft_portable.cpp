#include "audio/lane_fft_kernels.h"

namespace melflow::audio {
extern const LaneFftKernelSet kPortableLaneFftKernels = {
    make_lane_fft_kernels<double, 2>("portable"), make_lane_fft_kernels<float, 4>("portable"), {}};
}  // namespace melflow::audio
