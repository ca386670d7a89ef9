#pragma once

#include <string>

#include <torch/types.h>

namespace melflow::engine {

/// "cpu" or "cuda". LibTorch's CUDA half is loaded only when somebody asks for it, so that one program serves machines
/// with and without a GPU; nothing else of LibTorch may have asked for a GPU before. Throws Error{unavailable} that
/// says what is missing, Error{usage} for another name.
torch::Device open_device(const std::string& name);

}  // namespace melflow::engine
