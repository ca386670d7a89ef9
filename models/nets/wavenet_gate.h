#pragma once

#include <cstdint>

namespace melflow::models {

// The gate of a WaveNet over rows of channels, forward and backward in one pass each over memory; float32, on one
// thread of a CPU.

/// u [rows, 2·channels] → tanh and sigmoid of its halves [rows, channels] each, and their product. |error| below 2e-7.
void gate_forward(int64_t rows, int64_t channels, const float* u, float* tanh, float* sigmoid, float* product);

/// From the product's gradient [rows, channels] that of u [rows, 2·channels].
void gate_backward(int64_t rows, int64_t channels, const float* tanh, const float* sigmoid, const float* gradient,
                   float* of_u);

}  // namespace melflow::models
