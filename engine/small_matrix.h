#pragma once

#include <string>
#include <vector>

namespace melflow::engine {

/// The inverse of a square matrix [n, n], C order, by elimination with row exchanges. Throws Error{bad_data} "`what`
/// has no inverse".
std::vector<double> inverted(std::vector<double> matrix, size_t n, const std::string& what);

}  // namespace melflow::engine
