#include "engine/noise.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "audio/error.h"

namespace melflow::engine {

Philox philox(uint64_t counter_low, uint64_t counter_high, uint64_t key) {
  uint32_t c[4] = {static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
                   static_cast<uint32_t>(counter_high), static_cast<uint32_t>(counter_high >> 32)};
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
    const uint32_t next[4] = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(b),
                              static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(a)};
    for (int i = 0; i < 4; ++i) c[i] = next[i];
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {{c[0], c[1], c[2], c[3]}};
}

namespace {

/// Four normals from four uniforms: Box-Muller in double, so that the tail is not cut at float's resolution.
void four_normals(const Philox& u, float out[4]) {
  for (int pair = 0; pair < 2; ++pair) {
    const double radius = std::sqrt(-2.0 * std::log((u.v[2 * pair] + 1.0) * 0x1p-32));
    const double angle = 2.0 * std::numbers::pi * u.v[2 * pair + 1] * 0x1p-32;
    out[2 * pair] = static_cast<float>(radius * std::cos(angle));
    out[2 * pair + 1] = static_cast<float>(radius * std::sin(angle));
  }
}

}  // namespace

float normal_at(uint64_t seed, int64_t channel, int64_t group) {
  float four[4];
  four_normals(philox(static_cast<uint64_t>(group), static_cast<uint64_t>(channel / 4), seed), four);
  return four[channel % 4];
}

Noise::Noise(files::NpyArray z, std::string name) : z_(std::move(z)), name_(std::move(name)) {
  if (z_->shape.size() != 2) {
    throw Error(Exit::bad_data, name_ + ": noise must be an array [n_group, groups], as --dump-z writes it");
  }
}

Noise Noise::from(int64_t group) const {
  Noise out = *this;
  out.begin_ += group;
  return out;
}

Noise Noise::endless() const {
  Noise out = *this;
  out.endless_ = true;
  return out;
}

void Noise::fill(int64_t channels, int64_t first, int64_t count, std::span<float> out) const {
  first += begin_;
  if (z_ && (z_->shape[0] != channels || (!endless_ && z_->shape[1] < first + count))) {
    throw Error(Exit::bad_data, name_ + ": holds noise [" + std::to_string(z_->shape[0]) + ", " +
                                    std::to_string(z_->shape[1]) + "], but this voice and mel need [" +
                                    std::to_string(channels) + ", " + std::to_string(first + count) + "]");
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
    for (int64_t c = 0; c < channels; c += 4) {
      float four[4];
      four_normals(philox(static_cast<uint64_t>(first + g), static_cast<uint64_t>(c / 4), seed_), four);
      std::copy(four, four + std::min<int64_t>(4, channels - c), row + c);
    }
  }
}

}  // namespace melflow::engine
