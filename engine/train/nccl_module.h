#pragma once

#include "engine/train/processes.h"

namespace melflow::engine {

/// What melflow_nccl.so has to offer: DeviceSums::open, by this name.
using OpenNccl = c10::intrusive_ptr<c10d::Backend>(const c10::intrusive_ptr<c10d::Store>& store,
                                                   const ProcessPlace& place, const std::string& interface);
inline constexpr char kOpenNccl[] = "melflow_open_nccl";

}  // namespace melflow::engine
