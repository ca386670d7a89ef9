#include <system_error>

#include "tools/cli/with_torch.h"

namespace melflow::tools {

std::filesystem::path program_folder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
}

std::filesystem::path torch_program() { return program_folder() / "melflow-torch"; }

}  // namespace melflow::tools
