#include "engine/kernels/normalise.h"

#include <cmath>

#include "cpu/clones.h"

namespace melflow::engine {

MELFLOW_CPU_CLONES
void normalise(const double* __restrict sums, size_t length, double here, double floor, float* __restrict values,
               size_t count) {
  const double* ends = sums + length;
  for (size_t i = 0; i < count; ++i) {
    values[i] = static_cast<float>(values[i] / std::sqrt(here * (ends[i] - sums[i]) + floor));
  }
}

}  // namespace melflow::engine
