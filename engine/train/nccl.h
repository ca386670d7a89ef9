#pragma once

#include "engine/train/processes.h"

namespace melflow::engine {

/// Sums over processes with a GPU each, by NCCL. It is in melflow_nccl.so, which is loaded here: LibTorch's CUDA half,
/// which it needs, is not there on every machine; open_device("cuda") has loaded it. Throws Error{unavailable} where
/// this melflow was built without CUDA's and NCCL's headers. Opening it throws Error{usage} where two processes of a
/// machine have the same GPU.
DeviceSums nccl_sums();

}  // namespace melflow::engine
