#pragma once

#include <nlohmann/json_fwd.hpp>

namespace melflow::tools {

/// WaveGlow at its published size with random weights, on a real mel: speed with 1 thread and with all, in each
/// precision, beside the machine's peak in the same minute; its error against the model in double. A row whose peak
/// moved by more than 5 % says so instead.
nlohmann::json bench_waveglow(double seconds, int threads);

}  // namespace melflow::tools
