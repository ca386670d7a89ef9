#pragma once

#include <cstddef>

namespace melflow::engine {

/// values[i] /= √(here·(sums[i + length] - sums[i]) + floor) for 0 ≤ i < count: products of two stretches of a signal
/// become their correlations, where `here` is the energy of one and sums[i] that of all before place i.
void normalise(const double* sums, size_t length, double here, double floor, float* values, size_t count);

}  // namespace melflow::engine
