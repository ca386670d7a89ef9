#pragma once

#include <string>

#include <torch/types.h>

namespace melflow::engine {

/// "cpu" or "cuda". LibTorch's CUDA half is loaded only when somebody asks for it, so that one program serves machines
/// with and without a GPU; nothing else of LibTorch may have asked for a GPU before. Throws Error{unavailable} that
/// says what is missing, Error{usage} for another name.
/// Of several processes of a machine each has a number, and takes the GPU of that number; where it sees a single one,
/// as a launcher may have it, that.
torch::Device open_device(const std::string& name, int local_rank = 0);

}  // namespace melflow::engine
