// For safetensors_differential.py: reads file names from stdin, one a line, and prints for each either
// "ok" and its tensors (name, type, shape, SHA-256 as JSON) or "refused" and why. With `rewrite`, each line is
// "in<TAB>out" and the file is read and written again.
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/files/safetensors.h"
#include "engine/files/sha256.h"

namespace {

using namespace melflow;

nlohmann::json described(const files::SafetensorsFile& file) {
  nlohmann::json tensors = nlohmann::json::object();
  for (const auto& [name, tensor] : file.tensors()) {
    tensors[name] = {files::name_of(tensor.dtype), tensor.shape, files::sha256_hex(tensor.bytes)};
  }
  return {{"metadata", file.metadata()}, {"tensors", tensors}};
}

}  // namespace

int main(int argc, char** argv) {
  const bool rewrite = argc > 1 && std::string(argv[1]) == "rewrite";
  for (std::string line; std::getline(std::cin, line);) {
    const size_t tab = line.find('\t');
    try {
      const files::SafetensorsFile file(line.substr(0, tab));
      if (rewrite) {
        files::write_safetensors(line.substr(tab + 1), file.tensors(), file.metadata(), AtomicFile::Existing::replace);
      }
      std::cout << "ok\t" << described(file).dump() << '\n';
    } catch (const Error& error) {
      std::cout << "refused\t" << error.what() << '\n';
    }
  }
  return 0;
}
