#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace melflow::files {

/// What a pickle describes, as a tree of plain data. Nothing is ever called, imported or made: a class is its name, a
/// call is the name of what would be called beside its arguments.
enum class PickleKind : uint8_t {
  none,
  boolean,      ///< integer 0 or 1
  integer,      ///< fits 64 bits
  big_integer,  ///< text: its bytes, little-endian two's complement
  real,
  text,
  bytes,
  tuple,
  list,
  set,
  dict,        ///< items: key, value, key, value, …
  global,      ///< text: "module.name"
  call,        ///< callee(arguments); items: what was put into it afterwards (an OrderedDict's keys and values)
  object,      ///< callee.__new__(arguments); state: what __setstate__ would get
  persistent,  ///< arguments: the id that the program which wrote the file would look up
};

using PickleId = uint32_t;  ///< index of a node; 0 is None

struct PickleNode {
  PickleKind kind = PickleKind::none;
  PickleId callee = 0, arguments = 0, state = 0;
  union {
    int64_t integer = 0;
    double real;
  };
  std::string_view text;        ///< into the bytes that were parsed, or into Pickle::globals
  std::vector<PickleId> items;  ///< of containers; may form cycles: walk with a bound
};

struct Pickle {
  std::deque<PickleNode> nodes;
  PickleId root = 0;
  size_t length = 0;              ///< bytes up to and including STOP
  std::set<std::string> globals;  ///< every class and function that it names
  const PickleNode& at(PickleId id) const { return nodes[id]; }
};

/// Whether a global, "module.name", may be named at all.
using GlobalPolicy = std::function<bool(std::string_view global)>;

/// Reads one pickle of protocol 2 to 5 from the start of `bytes`, which must outlive the result. No recursion; at most
/// 2^20 nodes and 2^23 instructions, so memory and time are bounded whatever the bytes say.
/// Throws Error{bad_data} that names `name`, and the global where `allowed` says no. A pure function of the bytes.
Pickle parse_pickle(std::span<const std::byte> bytes, const std::string& name, const GlobalPolicy& allowed);

}  // namespace melflow::files
