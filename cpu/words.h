#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/tile_kernels.h"

namespace melflow::cpu {

// Numbers of float32 as the words of TileProduct in fp32 and bf16, by vectors: what changes with every step of a
// training.

/// words[c] holds first[c] and, in bfloat16, second[c] (none: zero), rounded to the nearest, ties to even. In float32
/// first alone.
void pack_words(Precision precision, const float* first, const float* second, int count, std::byte* words);

/// out[c·out_apart + w] = words[w·apart + c] for 0 ≤ w < 16, 0 ≤ c < columns; reads up to the next multiple of 16
/// columns, and writes no more than asked for. Distances are in words.
void transpose_words(const std::byte* words, ptrdiff_t apart, int columns, std::byte* out, ptrdiff_t out_apart);

}  // namespace melflow::cpu
