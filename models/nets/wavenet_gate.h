#pragma once

#include <cstdint>

namespace melflow::models {

/// The gate of a WaveNet over rows of channels, forward and backward in one pass each over memory; float32, on a CPU.
/// Rows are points in time: u [rows, 2·channels] and conditioning [rows, …], of which a row begins every `stride`.
struct GateRows {
  int64_t rows, channels;
  const float* conditioning;
  int64_t stride;
};

/// tanh and sigmoid of u + conditioning [rows, channels] each, and their product. |error| below 2e-7.
void gate_forward(const GateRows& g, const float* u, float* tanh, float* sigmoid, float* product);

/// From the product's gradient [rows, channels] that of u [rows, 2·channels], and once more into rows of `stride`:
/// the conditioning's.
void gate_backward(const GateRows& g, const float* tanh, const float* sigmoid, const float* gradient, float* of_u,
                   float* of_conditioning);

}  // namespace melflow::models
