#include "audio/fft.h"

#include <fftw3.h>

#include <algorithm>
#include <cassert>
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

}  // namespace

struct RealFft::Impl {
  explicit Impl(int n_) : n(n_) {
    assert(n > 0);
    real.reset(fftw_alloc_real(static_cast<size_t>(n)));
    spectrum.reset(fftw_alloc_complex(static_cast<size_t>(n / 2 + 1)));
    if (!real || !spectrum) throw std::bad_alloc();
    {
      // Only FFTW_ESTIMATE picks the same plan, and so the same last digits, in every run.
      const std::lock_guard lock(planner_mutex());
      forward = fftw_plan_dft_r2c_1d(n, real.get(), spectrum.get(), FFTW_ESTIMATE | FFTW_PRESERVE_INPUT);
      inverse = fftw_plan_dft_c2r_1d(n, spectrum.get(), real.get(), FFTW_ESTIMATE | FFTW_DESTROY_INPUT);
    }
    assert(forward && inverse);
    std::fill_n(real.get(), static_cast<size_t>(n), 0.0);
    std::fill_n(&spectrum[0][0], static_cast<size_t>(n / 2 + 1) * 2, 0.0);
  }

  ~Impl() {
    const std::lock_guard lock(planner_mutex());
    fftw_destroy_plan(forward);
    fftw_destroy_plan(inverse);
  }

  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  int n;
  std::unique_ptr<double[], FreeFftw> real;
  std::unique_ptr<fftw_complex[], FreeFftw> spectrum;
  fftw_plan forward = nullptr, inverse = nullptr;
};

RealFft::RealFft(int n) : impl_(std::make_unique<Impl>(n)) {}
RealFft::~RealFft() = default;
RealFft::RealFft(RealFft&&) noexcept = default;
RealFft& RealFft::operator=(RealFft&&) noexcept = default;

int RealFft::size() const { return impl_->n; }
int RealFft::bins() const { return impl_->n / 2 + 1; }

std::span<double> RealFft::real() { return {impl_->real.get(), static_cast<size_t>(impl_->n)}; }

std::span<std::complex<double>> RealFft::spectrum() {
  // std::complex<double> and double[2] have the same layout by the standard ([complex.numbers]).
  return {reinterpret_cast<std::complex<double>*>(impl_->spectrum.get()), static_cast<size_t>(bins())};
}

void RealFft::forward() { fftw_execute(impl_->forward); }
void RealFft::inverse() { fftw_execute(impl_->inverse); }

}  // namespace melflow::audio
