#include "models/flow/transform.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/nets/vector_math.h"

namespace melflow::models {

std::span<const char* const> enum_names(Scale) {
  static constexpr const char* kNames[] = {"exp", "tanh", "sigmoid", "additive"};
  return kNames;
}

namespace {

constexpr double kLimit = 3;  // of Scale::tanh

/// log_scale of n numbers; log_s and raw may be the same.
template <typename T>
void log_scales(Scale scale, const T* raw, T* log_s, int64_t n) {
  switch (scale) {
    case Scale::exp:
      std::copy_n(raw, n, log_s);
      return;
    case Scale::tanh:
      return bounded_array(raw, log_s, kLimit, n);
    case Scale::sigmoid:
      for (int64_t i = 0; i < n; ++i) {
        const T r = raw[i] + 2;
        log_s[i] = r > 0 ? -std::log1p(std::exp(-r)) : r - std::log1p(std::exp(r));
      }
      return;
    case Scale::additive:
      std::fill_n(log_s, n, T{0});
      return;
  }
}

/// z = x·s + t; raw: t, r.
template <typename T>
void scale_and_shift(Scale scale, const T* x, T* raw, int64_t stride, T* z, T* log_slope, int64_t n) {
  T* s = raw + stride;
  log_scales(scale, s, log_slope, n);
  exp_array(log_slope, s, n);
  for (int64_t i = 0; i < n; ++i) z[i] = x[i] * s[i] + raw[i];
}

/// x = (z - t) / s.
template <typename T>
void shift_and_shrink(Scale scale, const T* z, T* raw, int64_t stride, T* x, T* log_slope, int64_t n) {
  T* s = raw + stride;
  log_scales(scale, s, log_slope, n);
  for (int64_t i = 0; i < n; ++i) log_slope[i] = -log_slope[i];
  exp_array(log_slope, s, n);
  for (int64_t i = 0; i < n; ++i) x[i] = (z[i] - raw[i]) * s[i];
}

/// Shift and logarithm of the scale, from raw.
std::pair<torch::Tensor, torch::Tensor> shift_and_log_s(const torch::Tensor& raw, Scale scale) {
  const int64_t channels = raw.size(1) / 2;
  return {raw.narrow(1, 0, channels), log_scale(raw.narrow(1, channels, channels), scale)};
}

}  // namespace

torch::Tensor log_scale(const torch::Tensor& raw, Scale scale) {
  switch (scale) {
    case Scale::exp:
      return raw;
    case Scale::tanh:
      return (raw * (1 / kLimit)).tanh() * kLimit;
    case Scale::sigmoid:
      return torch::log_sigmoid(raw + 2);
    case Scale::additive:
      return torch::zeros_like(raw);
  }
  TORCH_CHECK(false, "log_scale: no such scale");
}

Transform::Moved Affine::forward(const torch::Tensor& x, const torch::Tensor& raw) const {
  const auto [shift, log_s] = shift_and_log_s(raw, scale_);
  if (order_ == Order::scale_first) return {x * log_s.exp() + shift, log_s};
  return {(x - shift) * (-log_s).exp(), -log_s};
}

Transform::Moved Affine::inverse(const torch::Tensor& z, const torch::Tensor& raw) const {
  const auto [shift, log_s] = shift_and_log_s(raw, scale_);
  if (order_ == Order::scale_first) return {(z - shift) / log_s.exp(), -log_s};
  return {torch::addcmul(shift, z, log_s.exp()), log_s};
}

void Affine::move(bool inverse, const float* from, float* raw, int64_t stride, float* to, float* log_slope,
                  int64_t n) const {
  const bool shrinks = (order_ == Order::shift_first) != inverse;
  (shrinks ? shift_and_shrink<float> : scale_and_shift<float>)(scale_, from, raw, stride, to, log_slope, n);
}
void Affine::move(bool inverse, const double* from, double* raw, int64_t stride, double* to, double* log_slope,
                  int64_t n) const {
  const bool shrinks = (order_ == Order::shift_first) != inverse;
  (shrinks ? shift_and_shrink<double> : scale_and_shift<double>)(scale_, from, raw, stride, to, log_slope, n);
}

std::pair<torch::Tensor, torch::Tensor> Composed::parts(const torch::Tensor& raw) const {
  const int64_t channels = raw.size(1) / outputs(), first = first_->outputs() * channels;
  return {raw.narrow(1, 0, first), raw.narrow(1, first, raw.size(1) - first)};
}

Transform::Moved Composed::forward(const torch::Tensor& x, const torch::Tensor& raw) const {
  const auto [raw1, raw2] = parts(raw);
  const auto middle = first_->forward(x, raw1), end = second_->forward(middle.value, raw2);
  return {end.value, middle.log_slope + end.log_slope};
}

Transform::Moved Composed::inverse(const torch::Tensor& z, const torch::Tensor& raw) const {
  const auto [raw1, raw2] = parts(raw);
  const auto middle = second_->inverse(z, raw2), start = first_->inverse(middle.value, raw1);
  return {start.value, middle.log_slope + start.log_slope};
}

template <typename T>
void Composed::run(bool inverse, const T* from, T* raw, int64_t stride, T* to, T* log_slope, int64_t n) const {
  constexpr int64_t kNumbers = 256;  // at once
  T middle[kNumbers];
  T* const raw2 = raw + first_->outputs() * stride;
  for (int64_t at = 0; at < n; at += kNumbers) {
    const int64_t count = std::min(kNumbers, n - at);
    const Transform &begin = inverse ? *second_ : *first_, &end = inverse ? *first_ : *second_;
    T *const of_begin = inverse ? raw2 : raw, *const of_end = inverse ? raw : raw2;
    begin.move(inverse, from + at, of_begin + at, stride, to + at, middle, count);
    end.move(inverse, to + at, of_end + at, stride, to + at, log_slope + at, count);
    for (int64_t i = 0; i < count; ++i) log_slope[at + i] += middle[i];
  }
}

void Composed::move(bool inverse, const float* from, float* raw, int64_t stride, float* to, float* log_slope,
                    int64_t n) const {
  run(inverse, from, raw, stride, to, log_slope, n);
}
void Composed::move(bool inverse, const double* from, double* raw, int64_t stride, double* to, double* log_slope,
                    int64_t n) const {
  run(inverse, from, raw, stride, to, log_slope, n);
}

}  // namespace melflow::models
