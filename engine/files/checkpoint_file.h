#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/files/mapped_file.h"
#include "engine/files/pytorch_file.h"
#include "engine/files/strided_tensor.h"

namespace melflow::files {

/// What any weight file holds, whatever its container: a table of tensors and a table of facts, both by path.
struct Checkpoint {
  std::string container;  ///< "safetensors", "PyTorch zip", "PyTorch legacy", "NeMo archive (…)"
  std::map<std::string, StridedTensor> tensors;
  std::map<std::string, std::string> facts;     ///< configuration beside the weights; see PytorchContent
  std::map<std::string, std::string> metadata;  ///< of a safetensors file
  std::vector<std::string> globals, refused;    ///< see PytorchContent
  Arrays made;                                  ///< what had to be decompressed
};

/// Told by the content: safetensors, torch.save's two containers, NeMo archives (tar or tar.gz of model_config.yaml and
/// a .ckpt). Nothing is executed, nothing is written. Throws Error{bad_data}, also for what is known but not read
/// (TorchScript, ONNX, HDF5, NumPy, GGUF), by its name. A pure function of the bytes, which must outlive the result.
Checkpoint parse_checkpoint(std::span<const std::byte> bytes, const std::string& name,
                            Unknown unknown = Unknown::refuse);

/// A file, mapped read-only for as long as this lives.
class CheckpointFile {
 public:
  explicit CheckpointFile(const std::filesystem::path& path, Unknown unknown = Unknown::refuse);
  const Checkpoint& content() const { return content_; }
  size_t size() const { return file_.bytes().size(); }

 private:
  MappedFile file_;
  Checkpoint content_;
};

/// The scalars of a block-style YAML file by dotted path ("preprocessor.sample_rate"): the subset in which NeMo writes
/// model_config.yaml. Lists, anchors, tags and flow style are passed over, never expanded.
std::map<std::string, std::string> yaml_scalars(std::string_view text);

}  // namespace melflow::files
