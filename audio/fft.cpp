#include "audio/fft.h"

#include <fftw3.h>

#include <cassert>
#include <cstring>
#include <mutex>
#include <new>

namespace melflow::audio {
namespace {

std::mutex& planner_mutex() {
  static std::mutex mutex;
  return mutex;
}

struct FreeFftw {
  void operator()(void* memory) const { fftw_free(memory); }
};

/// What FFTW calls by another name in each precision.
template <typename Real>
struct Fftw;
template <>
struct Fftw<double> {
  using Plan = fftw_plan;
  using Complex = fftw_complex;
  static constexpr auto plan_forward = fftw_plan_dft_r2c_1d;
  static constexpr auto plan_inverse = fftw_plan_dft_c2r_1d;
  static constexpr auto execute = fftw_execute;
  static constexpr auto destroy = fftw_destroy_plan;
};
template <>
struct Fftw<float> {
  using Plan = fftwf_plan;
  using Complex = fftwf_complex;
  static constexpr auto plan_forward = fftwf_plan_dft_r2c_1d;
  static constexpr auto plan_inverse = fftwf_plan_dft_c2r_1d;
  static constexpr auto execute = fftwf_execute;
  static constexpr auto destroy = fftwf_destroy_plan;
};

/// Aligned for SIMD, all zero.
template <typename T>
std::unique_ptr<T[], FreeFftw> zeros(int count) {
  const size_t bytes = sizeof(T) * static_cast<size_t>(count);
  std::unique_ptr<T[], FreeFftw> out(static_cast<T*>(fftw_malloc(bytes)));
  if (!out) throw std::bad_alloc();
  std::memset(out.get(), 0, bytes);
  return out;
}

}  // namespace

template <typename Real>
struct BasicRealFft<Real>::Impl {
  using Api = Fftw<Real>;

  explicit Impl(int n_)
      : n((assert(n_ > 0), n_)), real(zeros<Real>(n)), spectrum(zeros<typename Api::Complex>(n / 2 + 1)) {
    // Only FFTW_ESTIMATE, which leaves the buffers alone, picks the same plan, and so the same last digits, in every
    // run.
    const std::lock_guard lock(planner_mutex());
    forward = Api::plan_forward(n, real.get(), spectrum.get(), FFTW_ESTIMATE | FFTW_PRESERVE_INPUT);
    inverse = Api::plan_inverse(n, spectrum.get(), real.get(), FFTW_ESTIMATE | FFTW_DESTROY_INPUT);
    assert(forward && inverse);
  }

  ~Impl() {
    const std::lock_guard lock(planner_mutex());
    Api::destroy(forward);
    Api::destroy(inverse);
  }

  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  int n;
  std::unique_ptr<Real[], FreeFftw> real;
  std::unique_ptr<typename Api::Complex[], FreeFftw> spectrum;
  typename Api::Plan forward = nullptr, inverse = nullptr;
};

template <typename Real>
BasicRealFft<Real>::BasicRealFft(int n) : impl_(std::make_unique<Impl>(n)) {}
template <typename Real>
BasicRealFft<Real>::~BasicRealFft() = default;
template <typename Real>
BasicRealFft<Real>::BasicRealFft(BasicRealFft&&) noexcept = default;
template <typename Real>
BasicRealFft<Real>& BasicRealFft<Real>::operator=(BasicRealFft&&) noexcept = default;

template <typename Real>
int BasicRealFft<Real>::size() const {
  return impl_->n;
}
template <typename Real>
int BasicRealFft<Real>::bins() const {
  return impl_->n / 2 + 1;
}

template <typename Real>
std::span<Real> BasicRealFft<Real>::real() {
  return {impl_->real.get(), static_cast<size_t>(impl_->n)};
}

template <typename Real>
std::span<std::complex<Real>> BasicRealFft<Real>::spectrum() {
  // std::complex<Real> and Real[2] have the same layout by the standard ([complex.numbers]).
  return {reinterpret_cast<std::complex<Real>*>(impl_->spectrum.get()), static_cast<size_t>(bins())};
}

template <typename Real>
void BasicRealFft<Real>::forward() {
  Fftw<Real>::execute(impl_->forward);
}
template <typename Real>
void BasicRealFft<Real>::inverse() {
  Fftw<Real>::execute(impl_->inverse);
}

template class BasicRealFft<double>;
template class BasicRealFft<float>;

}  // namespace melflow::audio
