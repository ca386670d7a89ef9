#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/files/safetensors.h"

namespace melflow::files {

/// A tensor as PyTorch stores it: a window, with strides, into a storage that others may share.
struct StridedTensor {
  Dtype dtype = Dtype::f32;
  std::vector<int64_t> shape, strides;  ///< strides in elements, not negative
  uint64_t offset = 0;                  ///< in elements
  std::span<const std::byte> storage;   ///< whole elements of `dtype`
  bool swapped = false;                 ///< big-endian
};

/// The same for a plain C-order array.
StridedTensor strided(const TensorView& view);

/// Throws Error{bad_data} ("`what`: …") unless every element lies inside the storage, without overflow, and there are
/// no more elements than the storage holds (so that a copy never takes more than the file has).
void check_inside(const StridedTensor& tensor, const std::string& what);

/// Arrays that had to be made, kept alive for the views into them.
using Arrays = std::deque<std::vector<std::byte>>;

/// A C-order, little-endian view: into the storage where it is that already, else of a copy put into `made`.
/// The tensor must have passed check_inside.
TensorView in_c_order(const StridedTensor& tensor, Arrays& made);

}  // namespace melflow::files
