#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/flow/bijection.h"

namespace melflow::models {

/// Which direction of a flow that has a closed form of one alone is that one: the one that training needs.
enum class Closed {
  density,   ///< data → noise: maximum likelihood
  sampling,  ///< noise → data: reverse KL
};
inline std::span<const char* const> enum_names(Closed) {
  static constexpr const char* kNames[] = {"density", "sampling"};
  return kNames;
}

/// Layers [batch, channels] that are closed forwards, turned to close the wanted direction, and before the noise its
/// learned diagonal, which is the base distribution's scale.
std::shared_ptr<Bijection> closed_stack(const std::vector<std::shared_ptr<Bijection>>& layers, Closed closed,
                                        int64_t channels);

}  // namespace melflow::models
