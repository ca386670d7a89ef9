#pragma once

#include "models/flow/bijection.h"
#include "models/nets/made.h"

namespace melflow::models {

/// The inverse of MaskedAutoregressive on a CPU, float or double, without gradients: dimension after dimension, each
/// hidden unit once. z: [batch, dimensions]; context_bias: Made::context_bias, may be undefined.
Mapped made_inverse(Made& net, Scale scale, const torch::Tensor& z, const torch::Tensor& context_bias);

}  // namespace melflow::models
