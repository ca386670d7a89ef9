#include <filesystem>
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/files/safetensors.h"
#include "tools/cli/batch.h"
#include "tools/cli/options.h"
#include "tools/cli/shipped_voices.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {
namespace {

void list(const std::filesystem::path& path, bool json) {
  const files::SafetensorsFile file(path);  // the header alone is read
  const auto text = [&](const char* key) {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? std::string("not stated") : found->second;
  };
  if (json) {
    std::cout << json_text({{"name", path.stem().string()},
                            {"path", path.string()},
                            {"licence", text("licence")},
                            {"training_data", text("training_data")}})
              << "\n";
  } else {
    std::cout << one_line(path.stem().string() + "  " + text("licence") + "  " + text("training_data")) << "\n";
  }
}

}  // namespace

int run_voices(CLI::App& app, std::vector<std::string> arguments) {
  bool json = false;
  app.add_flag("--json", json, "one JSON object a voice");
  parse(app, std::move(arguments));
  const auto voices = shipped_voices();
  if (voices.empty()) throw no_voices();
  bool refused = false;
  for (const auto& path : voices) {
    try {
      list(path, json);
    } catch (const Error& e) {
      std::cout.flush();
      std::cerr << "melflow: " << e.what() << "\n";
      refused = true;
    }
  }
  return refused ? static_cast<int>(Exit::some_failed) : 0;
}

}  // namespace melflow::tools
