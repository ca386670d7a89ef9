#pragma once

#include <map>
#include <optional>
#include <string>

#include "engine/files/strided_tensor.h"

namespace melflow::files {

/// The path before "convinv.0.conv.weight": "", "module.", "state_dict.module.1.", …; nothing where there is no such
/// tensor. Where a file holds several WaveGlows, the first of the shortest paths.
std::optional<std::string> waveglow_path(const std::map<std::string, StridedTensor>& tensors);

/// The tensors below `path`, under the names that NVIDIA's class has today; what belongs to something else in the same
/// container is left out. Throws Error{bad_data} where two get one name.
std::map<std::string, StridedTensor> current_names(const std::map<std::string, StridedTensor>& tensors,
                                                   const std::string& path, const std::string& name);

/// The other way: tensors of models::WaveGlow (a float32 voice with conditioning at the sample rate) under the names
/// and shapes of NVIDIA's current class.
std::map<std::string, TensorView> nvidia_state_dict(const std::map<std::string, TensorView>& ours);

}  // namespace melflow::files
