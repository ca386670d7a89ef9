#pragma once

#include "models/flow/bijection.h"
#include "models/nets/made.h"

namespace melflow::models {

// MaskedAutoregressive on a CPU, float or double, without gradients. Rows are [batch, dimensions]; context_bias:
// Made::context_bias, may be undefined.

/// z and ln|det|, a few hundred rows after another, so that what lies between stays in the caches.
Mapped made_forward(Made& net, const Transform& transform, const torch::Tensor& x, const torch::Tensor& context_bias);

/// Dimension after dimension, each hidden unit once.
Mapped made_inverse(Made& net, const Transform& transform, const torch::Tensor& z, const torch::Tensor& context_bias);

}  // namespace melflow::models
