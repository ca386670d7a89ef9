#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/files/npy.h"

namespace melflow::engine {

/// The most draws that a group may have.
inline constexpr int64_t kMostDraws = 64;

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

  /// So many draws for each group, of which who fills takes the best (models::BlockFlow::inverse): those of draw d are
  /// channels d·channels and on. Noise from a file stays one draw.
  Noise best_of(int64_t draws) const;
  int64_t draws() const { return draws_; }

  /// The same noise, whose copies note together which draw each group took, for who asks afterwards.
  Noise noting() const;
  /// The next group took this draw.
  void take(int64_t draw) const;
  /// Of each group from the first on, the draw that it took; nothing where nobody notes or there is one draw.
  std::span<const uint8_t> taken() const;

  /// The same, with silence behind the end of a file, for who must go on.
  Noise endless() const;

 private:
  int64_t begin_ = 0, draws_ = 1;
  std::shared_ptr<std::vector<uint8_t>> taken_;
  bool endless_ = false;
  uint64_t seed_ = 0;
  std::optional<files::NpyArray> z_;
  std::string name_;
};

}  // namespace melflow::engine
