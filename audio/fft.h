#pragma once

#include <complex>
#include <cstddef>
#include <memory>
#include <span>

namespace melflow::audio {

/// FFT of a real signal: n reals ↔ n/2 + 1 complex numbers, with buffers of its own that hold zeros at first. In double
/// precision, which costs a third more than single: a log-mel near its floor shows the rounding of a single precision
/// transform (up to 1e-3 on speech, measured).
/// One object serves one thread; any number of objects compute at once (plans are made and destroyed under one
/// process-wide lock, because FFTW's planner is not thread-safe).
class RealFft {
 public:
  /// n > 0, even or odd. Throws std::bad_alloc.
  explicit RealFft(int n);
  ~RealFft();
  RealFft(RealFft&&) noexcept;
  RealFft& operator=(RealFft&&) noexcept;

  int size() const;  ///< n
  int bins() const;  ///< n/2 + 1

  std::span<double> real();                    ///< [n], aligned for SIMD
  std::span<std::complex<double>> spectrum();  ///< [n/2 + 1], aligned for SIMD

  /// spectrum[k] = Σ_t real[t]·exp(-2πi·k·t/n); real() is preserved.
  void forward();
  /// real[t] = Σ_k spectrum[k]·exp(+2πi·k·t/n) over all n (so n times the original); destroys spectrum().
  void inverse();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace melflow::audio
