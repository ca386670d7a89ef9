#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/files/pickle.h"
#include "engine/files/strided_tensor.h"

namespace melflow::files {

/// What a file made by torch.save holds, by path: dictionary keys, list indices and module names joined by dots, as
/// state_dict() joins them ("state_dict.module.WN.0.start.bias"). A pickled module shows its parameters and buffers,
/// not the other tensors among its attributes: what weight norm derived is stale in published files.
struct PytorchContent {
  std::string container;  ///< "PyTorch zip" or "PyTorch legacy"
  std::vector<std::pair<std::string, StridedTensor>> tensors;
  std::map<std::string, std::string> facts;  ///< numbers, texts and truth values by path; PATH.__class__ of a module
  std::vector<std::string> globals;          ///< every class and function that the pickle names
  std::vector<std::string> refused;          ///< those among them that are not read; only with Unknown::list
  Arrays inflated;                           ///< what was compressed
};

/// What to do with a class outside the list of plain ones: refuse the file, or list it (to look inside; still inert).
enum class Unknown { refuse, list };

/// Reads the two containers of torch.save (pickles one after the other before 1.6, zip since). Nothing is executed;
/// storages stay where they are in `bytes`, which must outlive the result, unless compressed. Throws Error{bad_data}
/// that names what is wrong: damage, a class that is not plain, TorchScript, a plain pickle. A pure function of the
/// bytes.
PytorchContent parse_pytorch(std::span<const std::byte> bytes, const std::string& name,
                             Unknown unknown = Unknown::refuse);

/// Whether a state dictionary or module may name this class or function.
bool is_plain_global(std::string_view global);

}  // namespace melflow::files
