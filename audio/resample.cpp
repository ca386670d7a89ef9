#include "audio/resample.h"

#include <soxr.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <string>

#include "base/error.h"

namespace melflow::audio {
namespace {

const soxr_quality_spec_t& quality() {
  static const soxr_quality_spec_t spec = soxr_quality_spec(SOXR_VHQ, 0);
  return spec;
}

void check(soxr_error_t error, int from_hz, int to_hz) {
  if (error == nullptr) return;
  throw Error(Exit::internal,
              "cannot resample from " + std::to_string(from_hz) + " to " + std::to_string(to_hz) + " Hz: " + error);
}

}  // namespace

struct StreamResampler::Impl {
  Impl(int from, int to) : from_hz(from), to_hz(to) {}
  ~Impl() { soxr_delete(converter); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void open() {
    if (converter != nullptr) return;
    const soxr_runtime_spec_t one_thread = soxr_runtime_spec(1);
    soxr_error_t error = nullptr;
    converter = soxr_create(from_hz, to_hz, 1, &error, nullptr, &quality(), &one_thread);
    check(error, from_hz, to_hz);
  }
  void forget() {
    soxr_delete(converter);
    converter = nullptr;
    taken = given = 0;
  }

  /// One call of soxr: appends what it gives and answers how much of the input it took. Null input: the end.
  size_t process(const float* input, size_t count, std::vector<float>& out) {
    open();
    constexpr size_t kRoom = 4096;
    const size_t before = out.size();
    out.resize(before + kRoom);
    size_t used = 0, made = 0;
    check(soxr_process(converter, input, count, &used, out.data() + before, kRoom, &made), from_hz, to_hz);
    out.resize(before + made);
    given += made;
    return used;
  }

  int from_hz, to_hz;
  soxr_t converter = nullptr;
  uint64_t taken = 0, given = 0;
};

StreamResampler::StreamResampler(int from_hz, int to_hz) : impl_(std::make_unique<Impl>(from_hz, to_hz)) {}
StreamResampler::~StreamResampler() = default;
StreamResampler::StreamResampler(StreamResampler&&) noexcept = default;
StreamResampler& StreamResampler::operator=(StreamResampler&&) noexcept = default;

void StreamResampler::push(std::span<const float> samples, std::vector<float>& out) {
  if (impl_->from_hz == impl_->to_hz) {
    out.insert(out.end(), samples.begin(), samples.end());
    return;
  }
  impl_->taken += samples.size();
  while (!samples.empty()) samples = samples.subspan(impl_->process(samples.data(), samples.size(), out));
}

void StreamResampler::finish(std::vector<float>& out) {
  const auto whole =
      static_cast<uint64_t>(std::llround(static_cast<double>(impl_->taken) * impl_->to_hz / impl_->from_hz));
  for (uint64_t before = ~uint64_t{0}; impl_->given != before && impl_->given < whole;) {
    before = impl_->given;
    impl_->process(nullptr, 0, out);
  }
  if (impl_->given > whole) out.resize(out.size() - std::min<uint64_t>(out.size(), impl_->given - whole));
  if (impl_->given < whole) out.resize(out.size() + (whole - impl_->given), 0.0f);
  impl_->forget();
}

void StreamResampler::reset() { impl_->forget(); }

std::vector<float> resample(std::span<const float> samples, int from_hz, int to_hz) {
  assert(from_hz > 0 && to_hz > 0);
  std::vector<float> result;
  StreamResampler whole(from_hz, to_hz);
  whole.push(samples, result);
  whole.finish(result);
  return result;
}

}  // namespace melflow::audio
