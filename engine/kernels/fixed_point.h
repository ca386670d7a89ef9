#pragma once

#include <cstdint>
#include <span>

namespace melflow::engine {

/// A vector as whole numbers of 24 bits in steps of a power of two, 2^-22 of the one that its largest magnitude
/// reaches. A sum with weights w is within half a step times Σ|w| of the exact one: of numbers that are of a size, as
/// activations and a saturated past are, nearer than a sum in float32; of numbers far below the largest little is left,
/// so a matrix of such inputs (a spectrum's powers) must not be in bytes. Its bytes lie apart, as VPDPBUSD (AVX-512
/// VNNI) takes them: that instruction multiplies four unsigned bytes by four signed ones in each lane, so that weights
/// in bytes are multiplied as they lie in memory, three times, instead of being widened to float32, and sums are exact.
struct FixedPoint {
  static constexpr int kMost = 4096;  ///< numbers; sums of as many products fit into 32 bits
  static constexpr int kFour = 4, kOutputs = 128;
  static constexpr int fours_of(int numbers) { return (numbers + kFour - 1) / kFour; }
  /// Low, middle and high byte of each number + 2^23.
  alignas(64) uint8_t bytes[3][kMost];
  float step;  ///< NaN where a number is not finite
};

/// x of at most kMost numbers.
void to_fixed_point(std::span<const float> x, FixedPoint& out);

/// sums[o] += Σ_i weights[i / 4, o, i % 4]·x[i], of weights [fours, kOutputs, 4] with zeros behind the last. of_ones[o]
/// is the sum of the weights of o. Needs AVX-512 VNNI.
void multiply_fixed_point(const int8_t* weights, const int32_t* of_ones, const FixedPoint& x, int fours, float* sums);

}  // namespace melflow::engine
