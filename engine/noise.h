#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "engine/files/npy.h"

namespace melflow::engine {

/// Four uniform 32-bit numbers from a counter and a key: Philox4x32-10 (Salmon et al., SC'11).
struct Philox {
  uint32_t v[4];
};
Philox philox(uint64_t counter_low, uint64_t counter_high, uint64_t key);

/// A standard normal number as a pure function of (seed, channel, group): chunks, threads, devices and seeking agree.
float normal_at(uint64_t seed, int64_t channel, int64_t group);

/// The noise of one utterance: drawn by position from a seed, or taken from a file.
class Noise {
 public:
  explicit Noise(uint64_t seed) : seed_(seed) {}
  /// `z` is [channels, groups]. Throws Error{bad_data} that names `name` where it is not.
  Noise(files::NpyArray z, std::string name);

  /// Groups [first, first + count), before sigma: out [count, channels], group after group. Throws Error{bad_data}
  /// where a file holds other or fewer numbers.
  void fill(int64_t channels, int64_t first, int64_t count, std::span<float> out) const;

  /// The same noise for who begins at `group`: that is its group 0.
  Noise from(int64_t group) const;

  /// The same, with silence behind the end of a file, for who must go on.
  Noise endless() const;

 private:
  int64_t begin_ = 0;
  bool endless_ = false;
  uint64_t seed_ = 0;
  std::optional<files::NpyArray> z_;
  std::string name_;
};

}  // namespace melflow::engine
