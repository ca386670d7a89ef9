#pragma once

#include <cstddef>

namespace melflow::engine {

// What a block network does to each number by itself, for whole vectors at once.

/// out[i] = scale·y/√(1 + y²/limit²) with y = x[i]/unit: bounded by scale·limit. `out` may be x.
void saturate(const float* x, float unit, float limit, float scale, float* out, size_t count);

/// h[i] = SiLU(h[i]·(1 + film[i]) + film[count + i]), which is v·sigmoid(v).
void modulate(const float* film, float* h, size_t count);

/// h[i] += gates[i]·sigmoid(gates[count + i]).
void add_gated(const float* gates, float* h, size_t count);

}  // namespace melflow::engine
