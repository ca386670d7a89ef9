// For the sets of x86; included like tile_kernels_lanes.h: an unnamed namespace, no library function.
#pragma once

#include "cpu/tile_kernels_lanes.h"
#include "cpu/vnni.h"

namespace melflow::cpu {
namespace {

/// VPDPBUSD: four products of an unsigned and a signed byte a lane, added to an int32.
template <int kLanes>
struct Int8Fours : Int8Words<kLanes> {
  using Sum = typename Lanes<kLanes>::Integers;
  static void add(Sum& sum, int32_t row, Sum panel) { sum = add_fours(sum, row - Sum{}, panel); }
  static void spin(Sum& sum) { sum = add_fours(sum, Sum{}, Sum{}); }
};

}  // namespace
}  // namespace melflow::cpu
