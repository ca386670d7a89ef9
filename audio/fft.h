#pragma once

#include <complex>
#include <cstddef>
#include <memory>
#include <span>

namespace melflow::audio {

/// FFT of a real signal: n reals ↔ n/2 + 1 complex numbers, with buffers of its own that hold zeros at first. In double
/// precision (RealFft): a log-mel near its floor shows the rounding of a single precision transform (up to 1e-3 on
/// speech, measured). In single precision (FloatRealFft), half the work, where no logarithm follows.
/// One object serves one thread; any number of objects compute at once (plans are made and destroyed under one
/// process-wide lock, because FFTW's planner is not thread-safe).
template <typename Real>
class BasicRealFft {
 public:
  /// n > 0, even or odd. Throws std::bad_alloc.
  explicit BasicRealFft(int n);
  ~BasicRealFft();
  BasicRealFft(BasicRealFft&&) noexcept;
  BasicRealFft& operator=(BasicRealFft&&) noexcept;

  int size() const;  ///< n
  int bins() const;  ///< n/2 + 1

  std::span<Real> real();                    ///< [n], aligned for SIMD
  std::span<std::complex<Real>> spectrum();  ///< [n/2 + 1], aligned for SIMD

  /// spectrum[k] = Σ_t real[t]·exp(-2πi·k·t/n); real() is preserved.
  void forward();
  /// real[t] = Σ_k spectrum[k]·exp(+2πi·k·t/n) over all n (so n times the original); destroys spectrum().
  void inverse();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};
using RealFft = BasicRealFft<double>;
using FloatRealFft = BasicRealFft<float>;

}  // namespace melflow::audio
