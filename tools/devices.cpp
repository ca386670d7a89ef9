#include <iostream>

#include <nlohmann/json.hpp>

#include "audio/error.h"
#include "audio/player.h"
#include "tools/verbs.h"

namespace melflow::tools {

int run_devices(CLI::App& app, std::vector<std::string> arguments) {
  bool json = false;
  app.add_flag("--json", json, "one JSON object a device");
  parse(app, std::move(arguments));
  const auto devices = audio::list_devices();
  for (const auto& d : devices) {
    if (json) {
      std::cout << nlohmann::json{{"name", d.name},
                                  {"host_api", d.host_api},
                                  {"channels", d.channels},
                                  {"sample_rate", d.sample_rate},
                                  {"default", d.is_default}}
                       .dump()
                << "\n";
    } else {
      std::cout << (d.is_default ? "* " : "  ") << d.name << "  (" << d.host_api << ", " << d.channels << " channels, "
                << d.sample_rate << " Hz)\n";
    }
  }
  if (devices.empty()) std::cerr << "no sound device\n";
  return 0;
}

}  // namespace melflow::tools
