#include <iostream>

#include "engine/build_info.h"
#include "tools/cli/options.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {

int run_version(CLI::App& app, std::vector<std::string> arguments) {
  parse(app, std::move(arguments));
  std::cout << "melflow " << engine::version() << " (commit " << engine::commit() << ")\n";
  return 0;
}

}  // namespace melflow::tools
