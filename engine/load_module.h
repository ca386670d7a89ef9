#pragma once

#include <map>
#include <string>

#include <torch/nn/module.h>

#include "engine/files/safetensors.h"

namespace melflow::engine {

/// Copies every tensor into the parameter or buffer of its name; the two sets must be the same, shape for shape, and
/// finite. Throws Error{bad_data} "`name`: …".
void load_module(torch::nn::Module& model, const std::map<std::string, files::TensorView>& tensors,
                 const std::string& name);

}  // namespace melflow::engine
