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

unsigned planner_flags(Planning planning) {
  switch (planning) {
    case Planning::measure:
      return FFTW_MEASURE;
    case Planning::patient:
      return FFTW_PATIENT;
    case Planning::estimate:
      break;
  }
  return FFTW_ESTIMATE;
}

struct FreeFftw {
  void operator()(void* memory) const { fftw_free(memory); }
};

/// Rows must start on the alignment that the plan was made for: 513 complex numbers are 8208 bytes, which is not a
/// multiple of a SIMD register, so a row takes the next multiple of 4 complex numbers (516 for n = 1024).
int padded(int length, int multiple) { return (length + multiple - 1) / multiple * multiple; }

}  // namespace

struct RealFft::Impl {
  Impl(int n_, int batch_, Planning planning)
      : n(n_), batch(batch_), real_stride(padded(n, 8)), bin_stride(padded(n / 2 + 1, 4)) {
    assert(n > 0 && batch > 0);
    real.reset(fftw_alloc_real(static_cast<size_t>(real_stride) * batch));
    spectrum.reset(fftw_alloc_complex(static_cast<size_t>(bin_stride) * batch));
    if (!real || !spectrum) throw std::bad_alloc();
    {
      const std::lock_guard lock(planner_mutex());
      const unsigned flags = planner_flags(planning);
      forward = fftw_plan_many_dft_r2c(1, &n, batch, real.get(), nullptr, 1, real_stride, spectrum.get(), nullptr, 1,
                                       bin_stride, flags | FFTW_PRESERVE_INPUT);
      inverse = fftw_plan_many_dft_c2r(1, &n, batch, spectrum.get(), nullptr, 1, bin_stride, real.get(), nullptr, 1,
                                       real_stride, flags | FFTW_DESTROY_INPUT);
    }
    // After planning, because a planner that measures writes into the buffers.
    std::fill_n(real.get(), static_cast<size_t>(real_stride) * batch, 0.0);
    std::fill_n(&spectrum[0][0], static_cast<size_t>(bin_stride) * batch * 2, 0.0);
    assert(forward && inverse);
  }

  ~Impl() {
    const std::lock_guard lock(planner_mutex());
    fftw_destroy_plan(forward);
    fftw_destroy_plan(inverse);
  }

  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  int n, batch, real_stride, bin_stride;
  std::unique_ptr<double[], FreeFftw> real;
  std::unique_ptr<fftw_complex[], FreeFftw> spectrum;
  fftw_plan forward = nullptr, inverse = nullptr;
};

RealFft::RealFft(int n, int batch, Planning planning) : impl_(std::make_unique<Impl>(n, batch, planning)) {}
RealFft::~RealFft() = default;
RealFft::RealFft(RealFft&&) noexcept = default;
RealFft& RealFft::operator=(RealFft&&) noexcept = default;

int RealFft::size() const { return impl_->n; }
int RealFft::bins() const { return impl_->n / 2 + 1; }
int RealFft::batch() const { return impl_->batch; }

std::span<double> RealFft::real(int row) {
  assert(row >= 0 && row < impl_->batch);
  return {impl_->real.get() + static_cast<ptrdiff_t>(row) * impl_->real_stride, static_cast<size_t>(impl_->n)};
}

std::span<std::complex<double>> RealFft::spectrum(int row) {
  assert(row >= 0 && row < impl_->batch);
  // std::complex<double> and double[2] have the same layout by the standard ([complex.numbers]).
  auto* first = reinterpret_cast<std::complex<double>*>(impl_->spectrum.get());
  return {first + static_cast<ptrdiff_t>(row) * impl_->bin_stride, static_cast<size_t>(bins())};
}

void RealFft::forward() { fftw_execute(impl_->forward); }
void RealFft::inverse() { fftw_execute(impl_->inverse); }

}  // namespace melflow::audio
