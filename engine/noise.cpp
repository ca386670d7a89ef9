#include "engine/noise.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "cpu/clones.h"

namespace melflow::engine {

namespace {

// What follows is written so that compilers turn it into vectors, and without fused multiply-adds (CMakeLists.txt), so
// that every CPU and every way of cutting the work gives the same bits.

/// ln((u + 1)·2^-32), to the last digits of double: the exponent, and 2·artanh of (m - 1)/(m + 1) for the rest.
inline double log_uniform(uint32_t u) {
  const auto bits = std::bit_cast<uint64_t>((u + 1.0) * 0x1p-32);
  // Mantissas from √½ to √2.
  const uint64_t shifted = bits - std::bit_cast<uint64_t>(0x1.6a09e667f3bcdp-1);
  const auto exponent = static_cast<int32_t>(static_cast<int64_t>(shifted) >> 52);
  const auto m = std::bit_cast<double>(bits - (static_cast<uint64_t>(static_cast<int64_t>(exponent)) << 52));
  const double s = (m - 1) / (m + 1), q = s * s;
  double sum = 1.0 / 21;
  for (int n = 19; n >= 1; n -= 2) sum = sum * q + 1.0 / n;
  return exponent * std::numbers::ln2 + 2 * s * sum;
}

/// Sine and cosine of 2π·u·2^-32: the nearest quarter turn, and Taylor's series for what is left.
inline void turn(uint32_t u, double& sine, double& cosine) {
  const uint32_t quarter = (u + (1u << 29)) >> 30;
  const double x = static_cast<int32_t>(u - (quarter << 30)) * (2 * std::numbers::pi * 0x1p-32), q = x * x;
  double odd = 1, even = 1;
  for (int n = 14; n >= 2; n -= 2) odd = 1 - odd * q * (1.0 / (n * (n + 1)));
  for (int n = 15; n >= 1; n -= 2) even = 1 - even * q * (1.0 / (n * (n + 1)));
  odd *= x;
  sine = (quarter & 1) != 0 ? even : odd;
  cosine = (quarter & 1) != 0 ? odd : even;
  if ((quarter & 2) != 0) sine = -sine;
  if (((quarter + 1) & 2) != 0) cosine = -cosine;
}

/// Box-Muller, in double so that the tail is not cut at float's resolution.
inline void two_normals(uint32_t u, uint32_t v, float* out) {
  double sine, cosine;
  turn(v, sine, cosine);
  const double radius = std::sqrt(-2.0 * log_uniform(u));
  out[0] = static_cast<float>(radius * cosine);
  out[1] = static_cast<float>(radius * sine);
}

inline void philox_round(uint32_t& c0, uint32_t& c1, uint32_t& c2, uint32_t& c3, uint32_t k0, uint32_t k1) {
  const uint64_t a = uint64_t{0xD2511F53} * c0, b = uint64_t{0xCD9E8D57} * c2;
  const uint32_t n0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0, n2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
  c0 = n0;
  c1 = static_cast<uint32_t>(b);
  c2 = n2;
  c3 = static_cast<uint32_t>(a);
}

constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr size_t kQuads = 16;  // computed at once

/// Channels 4·quad … 4·(quad + kQuads) - 1 of a group.
MELFLOW_CPU_CLONES
void many_normals(uint64_t seed, uint64_t group, uint32_t quad, float* __restrict out) {
  uint32_t c[4][kQuads];
  for (uint32_t i = 0; i < kQuads; ++i) {
    c[0][i] = static_cast<uint32_t>(group);
    c[1][i] = static_cast<uint32_t>(group >> 32);
    c[2][i] = quad + i;
    c[3][i] = 0;
  }
  for (uint32_t round = 0; round < 10; ++round) {
    const uint32_t k0 = static_cast<uint32_t>(seed) + round * kWeyl0;
    const uint32_t k1 = static_cast<uint32_t>(seed >> 32) + round * kWeyl1;
#pragma GCC unroll 1  // GCC 12 unrolls it else, and makes no vectors of what comes out
    for (size_t i = 0; i < kQuads; ++i) philox_round(c[0][i], c[1][i], c[2][i], c[3][i], k0, k1);
  }
  float normals[4][kQuads];
  for (size_t pair = 0; pair < 2; ++pair) {
    for (size_t i = 0; i < kQuads; ++i) {
      float two[2];
      two_normals(c[2 * pair][i], c[2 * pair + 1][i], two);
      normals[2 * pair][i] = two[0];
      normals[2 * pair + 1][i] = two[1];
    }
  }
  for (size_t i = 0; i < kQuads; ++i) {
    for (size_t n = 0; n < 4; ++n) out[4 * i + n] = normals[n][i];
  }
}

}  // namespace

Philox philox(uint64_t counter_low, uint64_t counter_high, uint64_t key) {
  Philox c{{static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
            static_cast<uint32_t>(counter_high), static_cast<uint32_t>(counter_high >> 32)}};
  for (uint32_t round = 0; round < 10; ++round) {
    philox_round(c.v[0], c.v[1], c.v[2], c.v[3], static_cast<uint32_t>(key) + round * kWeyl0,
                 static_cast<uint32_t>(key >> 32) + round * kWeyl1);
  }
  return c;
}

float normal_at(uint64_t seed, int64_t channel, int64_t group) {
  const auto u = philox(static_cast<uint64_t>(group), static_cast<uint64_t>(channel / 4), seed);
  float two[2];
  two_normals(u.v[channel % 4 / 2 * 2], u.v[channel % 4 / 2 * 2 + 1], two);
  return two[channel % 2];
}

Noise::Noise(files::NpyArray z, std::string name) : z_(std::move(z)), name_(std::move(name)) {
  if (z_->shape.size() != 2) {
    throw Error(Exit::bad_data, name_ + ": noise must be an array [group, groups], as --dump-z writes it");
  }
  const auto wrong = std::ranges::find_if(z_->values, [](float number) { return !std::isfinite(number); });
  if (wrong == z_->values.end()) return;
  const auto at = wrong - z_->values.begin();
  throw Error(Exit::bad_data, name_ + ": noise at row " + std::to_string(at / z_->shape[1] + 1) + ", column " +
                                  std::to_string(at % z_->shape[1] + 1) + " is NaN or infinity");
}

Noise Noise::from(int64_t group) const {
  Noise out = *this;
  out.begin_ += group;
  return out;
}

Noise Noise::best_of(int64_t draws) const {
  Noise out = *this;
  out.draws_ = z_ ? 1 : draws;
  return out;
}

Noise Noise::noting() const {
  Noise out = *this;
  out.taken_ = std::make_shared<std::vector<uint8_t>>();
  return out;
}

void Noise::take(int64_t draw) const {
  if (taken_) taken_->push_back(static_cast<uint8_t>(draw));
}

std::span<const uint8_t> Noise::taken() const {
  return taken_ ? std::span<const uint8_t>(*taken_) : std::span<const uint8_t>();
}

Noise Noise::endless() const {
  Noise out = *this;
  out.endless_ = true;
  return out;
}

void Noise::fill(int64_t channels, int64_t first, int64_t count, std::span<float> out) const {
  first += begin_;
  if (z_ && (z_->shape[0] != channels || (!endless_ && z_->shape[1] < first + count))) {
    const bool short_of = z_->shape[0] == channels;
    throw Error(Exit::bad_data,
                name_ + ": holds noise [" + std::to_string(z_->shape[0]) + ", " + std::to_string(z_->shape[1]) +
                    "], but " +
                    (short_of ? "the mel goes on; a column is for " + std::to_string(channels) +
                                    " samples, and of a recording's last frame, which score leaves out, there is none"
                              : "this voice's has " + std::to_string(channels) + " rows, a column for each " +
                                    std::to_string(channels) + " samples"));
  }
  for (int64_t g = 0; g < count; ++g) {
    float* row = out.data() + g * channels;
    if (z_) {
      const int64_t at = first + g, groups = z_->shape[1];
      for (int64_t c = 0; c < channels; ++c) {
        row[c] = at < groups ? z_->values[static_cast<size_t>(c * groups + at)] : 0.0f;
      }
      continue;
    }
    constexpr int64_t kAtOnce = 4 * kQuads;
    float some[kAtOnce];
    for (int64_t c = 0; c < channels; c += kAtOnce) {
      many_normals(seed_, static_cast<uint64_t>(first + g), static_cast<uint32_t>(c / 4), some);
      std::copy(some, some + std::min(kAtOnce, channels - c), row + c);
    }
  }
}

}  // namespace melflow::engine
