#pragma once

#include <vector>

namespace melflow::gpu {

/// The inverse of a matrix [n, n], in double: Gauss-Jordan with the largest pivot of each column. Throws
/// Error{bad_data} for a matrix that has none.
std::vector<double> inverted(const std::vector<float>& matrix, int n);

}  // namespace melflow::gpu
