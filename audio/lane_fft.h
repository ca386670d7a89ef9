#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace melflow::audio {

/// The tables of a LaneFft, in the order in which its kernels read them.
struct LaneFftPlan {
  int leaf;               ///< length of the first transforms: 4, 8 or 16
  int passes;             ///< of radix 8 that follow: n = leaf·8^passes
  int bins;               ///< that are wanted, from 0 on
  const int32_t* offset;  ///< [n] sample t of the frames begins at samples[offset]; leaf after leaf
  const double* window;   ///< [n] by which it is multiplied, in the same order
  const double* twiddle;  ///< pass after pass (over transforms of length L), for 0 < k < L/2, for 0 < r < 8: re and im
                          ///< of exp(-2πi·r·k/8L)
};

/// The inner loops of LaneFft for one instruction set; all are made of one template (lane_fft_kernels.h).
struct LaneFftKernels {
  const char* name;
  int width;  ///< lanes of a call
  /// `work` has room for the input of each pass. As LaneFft's functions of the same names, for the first `width` lanes.
  void (*magnitudes)(const LaneFftPlan&, const float* samples, double epsilon, double* work, float* out);
  void (*spectrum)(const LaneFftPlan&, const float* samples, double* work, double* out);
};

/// All that this machine can run, the fastest first.
std::span<const LaneFftKernels* const> runnable_lane_fft_kernels();

/// FFT of many real frames at once, in double precision, a SIMD lane for each: no shuffles, and nothing that a frame's
/// neighbours could change. Decimation in time (Cooley and Tukey 1965): real transforms of 4, 8 or 16 samples, then
/// passes of radix 8 over the half of each spectrum that its mirror image does not repeat (Sorensen et al. 1987,
/// "Real-valued fast Fourier transform algorithms"). Its oracle is RealFft. One object serves one thread.
class LaneFft {
 public:
  static constexpr int kLanes = 16;  ///< frames of a call, at most

  /// Powers of two from 32 to 16384.
  static bool serves(int n);

  /// Offsets of frames that lie side by side, [n, kLanes].
  static std::vector<int32_t> side_by_side(int n);

  /// Frames of window.size() samples, which serves() must hold for. Sample t of frame `lane` is
  /// window[t]·samples[offset[t] + lane]; the first `bins` bins are wanted, at most n/2 + 1.
  LaneFft(std::span<const double> window, std::span<const int32_t> offset, int bins,
          const LaneFftKernels& kernels = *runnable_lane_fft_kernels().front());

  /// out[k·kLanes + lane] = sqrt(|X[k]|² + epsilon), the sum in double, the root in single precision, for lane < count
  /// ≤ kLanes. Lanes that follow may be computed, so `samples` has values for all kLanes. `out` is [bins, kLanes].
  void magnitudes(const float* samples, int count, double epsilon, float* out);

  /// out[(2k + part)·kLanes + lane] = the real (part 0) or imaginary part of X[k] = Σ_t x[t]·exp(-2πi·k·t/n).
  void spectrum(const float* samples, int count, double* out);

 private:
  LaneFftPlan plan() const { return {leaf_, passes_, bins_, offset_.data(), window_.data(), twiddle_.data()}; }

  struct alignas(64) Line {  // a register's worth
    double values[8];
  };

  int leaf_, passes_ = 0, bins_;
  std::vector<int32_t> offset_;
  std::vector<double> window_, twiddle_;
  const LaneFftKernels* kernels_;
  std::vector<Line> work_;
};

}  // namespace melflow::audio
