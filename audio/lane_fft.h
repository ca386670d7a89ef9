#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace melflow::audio {

inline constexpr int kFftLanes = 16;  ///< frames of a call, at most

/// The tables of a LaneFft, in the order in which its kernels read them.
template <typename Real>
struct LaneFftPlan {
  int leaf;               ///< length of the first transforms: 4, 8 or 16
  int passes;             ///< of radix 8 that follow: n = leaf·8^passes
  int bins;               ///< that are wanted, from 0 on
  int lanes;              ///< of a row of the output
  const int32_t* offset;  ///< [n] sample t of the frames begins at samples[offset]; leaf after leaf
  const Real* window;     ///< [n] by which it is multiplied, in the same order
  const Real* twiddle;    ///< pass after pass (over transforms of length L), for 0 < k < L/2, for 0 < r < 8: re and im
                          ///< of exp(-2πi·r·k/8L)
};

/// The inner loops of LaneFft for one instruction set; all are made of one template (lane_fft_kernels.h).
template <typename Real>
struct LaneFftKernels {
  const char* name;
  int width;  ///< lanes of a call
  /// `work` has room for the input of each pass. As LaneFft's functions of the same names, for the first `width` lanes.
  void (*magnitudes)(const LaneFftPlan<Real>&, const float* samples, Real epsilon, Real* work, float* out);
  void (*spectrum)(const LaneFftPlan<Real>&, const float* samples, Real* work, Real* out);
};

struct LaneFftKernelSet {
  LaneFftKernels<double> doubles;
  LaneFftKernels<float> floats;
  LaneFftKernels<float> wide_floats;  ///< for as many lanes as there are at most; width 0: none
};

/// All that this machine can run, the fastest first.
template <typename Real>
std::span<const LaneFftKernels<Real>* const> runnable_lane_fft_kernels();
/// The fastest for rows of so many lanes.
template <typename Real>
const LaneFftKernels<Real>& fastest_lane_fft_kernels(int lanes);

/// FFT of many real frames at once, a SIMD lane for each: no shuffles, and nothing that a frame's neighbours could
/// change. In double precision (LaneFft), or in single precision for half the work (FloatLaneFft). Decimation in time
/// (Cooley and Tukey 1965): real transforms of 4, 8 or 16 samples, then passes of radix 8 over the half of each
/// spectrum that its mirror image does not repeat (Sorensen et al. 1987, "Real-valued fast Fourier transform
/// algorithms"). Its oracle is RealFft. One object serves one thread.
template <typename Real>
class BasicLaneFft {
 public:
  /// Powers of two from 32 to 16384.
  static bool serves(int n);

  /// Offsets of frames that lie side by side, [n, lanes].
  static std::vector<int32_t> side_by_side(int n, int lanes = kFftLanes);

  /// Frames of window.size() samples, which serves() must hold for. Sample t of frame `lane` is
  /// window[t]·samples[offset[t] + lane]; the first `bins` bins are wanted, at most n/2 + 1, in rows of `lanes`, 8 or
  /// kFftLanes.
  BasicLaneFft(std::span<const double> window, std::span<const int32_t> offset, int bins, int lanes = kFftLanes)
      : BasicLaneFft(window, offset, bins, lanes, fastest_lane_fft_kernels<Real>(lanes)) {}
  /// By kernels that are no wider than the rows.
  BasicLaneFft(std::span<const double> window, std::span<const int32_t> offset, int bins, int lanes,
               const LaneFftKernels<Real>& kernels);

  /// out[k·lanes + lane] = sqrt(|X[k]|² + epsilon), the root in single precision, for lane < count ≤ lanes. Lanes that
  /// follow may be computed, so `samples` has values for all. `out` is [bins, lanes].
  void magnitudes(const float* samples, int count, Real epsilon, float* out);

  /// out[(2k + part)·lanes + lane] = the real (part 0) or imaginary part of X[k] = Σ_t x[t]·exp(-2πi·k·t/n).
  void spectrum(const float* samples, int count, Real* out);

 private:
  LaneFftPlan<Real> plan() const {
    return {leaf_, passes_, bins_, lanes_, offset_.data(), window_.data(), twiddle_.data()};
  }

  struct alignas(64) Line {  // a register's worth
    Real values[64 / sizeof(Real)];
  };

  int leaf_, passes_ = 0, bins_, lanes_;
  std::vector<int32_t> offset_;
  std::vector<Real> window_, twiddle_;
  const LaneFftKernels<Real>* kernels_;
  std::vector<Line> work_;
};
using LaneFft = BasicLaneFft<double>;
using FloatLaneFft = BasicLaneFft<float>;

}  // namespace melflow::audio
