#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpu/levels.h"

namespace melflow::engine {

/// A vector as whole numbers of 24 bits in steps of a power of two, 2^-22 of the one that its largest magnitude
/// reaches. A sum with weights w is within half a step times Σ|w| of the exact one: of numbers that are of a size, as
/// activations and a saturated past are, nearer than a sum in float32; of numbers far below the largest little is left,
/// so a matrix of such inputs (a spectrum's powers) must not be in bytes. Its bytes lie apart, as VPDPBUSD takes them:
/// that instruction multiplies four unsigned bytes by four signed ones in each lane, so that weights
/// in bytes are multiplied as they lie in memory, three times, instead of being widened to float32, and sums are exact.
struct FixedPoint {
  static constexpr int kMost = 4096;  ///< numbers; sums of as many products fit into 32 bits
  static constexpr int kFour = 4;
  static constexpr int fours_of(int numbers) { return (numbers + kFour - 1) / kFour; }
  /// Low, middle and high byte of each number + 2^23.
  alignas(64) uint8_t bytes[3][kMost];
  float step;  ///< NaN where a number is not finite
};

/// x of at most kMost numbers.
void to_fixed_point(std::span<const float> x, FixedPoint& out);

/// What multiplies by a FixedPoint, for one instruction set. All give the same bits.
struct FixedPointProduct {
  static constexpr int kMostOutputs = 128;

  int outputs;  ///< at once; a divisor of kMostOutputs
  /// sums[o] += Σ_i weights[i / 4, o, i % 4]·x[i], of weights [fours, outputs, 4] with zeros behind the last.
  /// of_ones[o] is the sum of the weights of o.
  void (*multiply)(const int8_t* weights, const int32_t* of_ones, const FixedPoint& x, int fours, float* sums);

  /// Weights of panels [panels, inputs, kMostOutputs] as multiply() takes them, run after run; and their of_ones.
  std::vector<int8_t> packed(std::span<const int8_t> panels, int inputs, std::vector<int32_t>& of_ones) const;
};

/// Of that level; null where it has no instruction for it.
const FixedPointProduct* fixed_point_product(cpu::Level level);

}  // namespace melflow::engine
