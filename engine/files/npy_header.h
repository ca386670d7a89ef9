#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace melflow::files {

/// What the header of a .npy file says.
struct NpyHeader {
  std::string descr;  ///< byte order and type, such as '<f4'
  bool fortran_order = false;
  std::vector<int64_t> shape;  ///< each ≥ 0, at most 32
};

/// Recognises the dictionary that NumPy writes, literally; evaluates nothing. Throws Error{bad_data}.
NpyHeader parse_npy_header(std::string_view text, const std::string& name);

/// Throws Error{bad_data} "`name`: not a readable .npy array: `what`".
[[noreturn]] void refuse_npy(const std::string& name, const std::string& what);

}  // namespace melflow::files
