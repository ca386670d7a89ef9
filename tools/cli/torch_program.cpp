#include <system_error>

#include "tools/cli/with_torch.h"

namespace melflow::tools {

std::filesystem::path torch_program() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return self.parent_path() / "melflow-torch";
}

}  // namespace melflow::tools
