#include <iostream>

#include <nlohmann/json.hpp>

#include "audio/portaudio_io.h"
#include "tools/cli/batch.h"
#include "tools/cli/options.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {
namespace {

void print(const std::vector<audio::SoundDevice>& devices, const char* direction, bool as_json) {
  for (const auto& d : devices) {
    if (as_json) {
      std::cout << json_text({{"name", d.name},
                              {"direction", direction},
                              {"host_api", d.host_api},
                              {"channels", d.channels},
                              {"sample_rate", d.sample_rate},
                              {"default", d.is_default}})
                << "\n";
    } else {
      std::cout << (d.is_default ? "* " : "  ") << direction << (direction[0] == 'i' ? "   " : "  ") << d.name << "  ("
                << d.host_api << ", " << d.channels << " channels, " << d.sample_rate << " Hz)\n";
    }
  }
}

}  // namespace

int run_devices(CLI::App& app, std::vector<std::string> arguments) {
  bool as_json = false;
  app.add_flag("--json", as_json, "one JSON object a device");
  parse(app, std::move(arguments));
  const auto out = audio::list_devices(), in = audio::list_input_devices();
  print(out, "out", as_json);
  print(in, "in", as_json);
  if (out.empty()) std::cerr << "no sound device to play to; clock:FILE takes its place\n";
  if (in.empty()) std::cerr << "no sound device to record from\n";
  return 0;
}

}  // namespace melflow::tools
