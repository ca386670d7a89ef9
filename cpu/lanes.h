// Vectors of any length, and the functions of a gate on them. For sources that are compiled for one instruction set;
// the rule of tile_kernels_lanes.h holds here too: an unnamed namespace, no library function.
#pragma once

#include <cstdint>

#include "cpu/fast_exp.h"

namespace melflow::cpu {
namespace {

/// Vectors of kLanes floats as GCC and Clang know them; where the CPU's are shorter, the compiler makes pairs.
template <int kLanes>
struct Lanes {
  typedef float Vector __attribute__((vector_size(4 * kLanes)));
  typedef int32_t Integers __attribute__((vector_size(4 * kLanes)));
  typedef float Unaligned __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
  typedef int32_t UnalignedIntegers __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

  static Vector load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
  static void store(float* p, Vector v) { *reinterpret_cast<Unaligned*>(p) = v; }
  static Vector all(float x) { return x - Vector{}; }

  /// tanh(a)·sigmoid(b) with one division: (1 - e^-2a) / ((1 + e^-2a)(1 + e^-b)).
  template <typename V>  // Vector; as a template of its own because GCC 12 forgets its length here
  static V gate(V a, V b) {
    const V ea = cpu::fast_exp(cpu::clamped(a, 10.0f) * -2.0f), eb = cpu::fast_exp(-cpu::clamped(b, 60.0f));
    return (1.0f - ea) / ((1.0f + ea) * (1.0f + eb));
  }
};

}  // namespace
}  // namespace melflow::cpu
