#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace melflow::tools {

/// One verb of the command line: declares its options on the app, parses, works, and answers the exit code.
/// Everything that fails throws; main() turns exceptions into one line and an exit code.
struct Verb {
  const char* name;
  const char* summary;
  int (*run)(CLI::App& app, std::vector<std::string> arguments);
};

int run_bench(CLI::App& app, std::vector<std::string> arguments);
int run_convert(CLI::App& app, std::vector<std::string> arguments);
int run_data(CLI::App& app, std::vector<std::string> arguments);
int run_devices(CLI::App& app, std::vector<std::string> arguments);
int run_doctor(CLI::App& app, std::vector<std::string> arguments);
int run_eval(CLI::App& app, std::vector<std::string> arguments);
int run_flow(CLI::App& app, std::vector<std::string> arguments);
int run_inspect(CLI::App& app, std::vector<std::string> arguments);
int run_mel(CLI::App& app, std::vector<std::string> arguments);
int run_play(CLI::App& app, std::vector<std::string> arguments);
int run_score(CLI::App& app, std::vector<std::string> arguments);
int run_synth(CLI::App& app, std::vector<std::string> arguments);
int run_train(CLI::App& app, std::vector<std::string> arguments);
int run_version(CLI::App& app, std::vector<std::string> arguments);
int run_voices(CLI::App& app, std::vector<std::string> arguments);

}  // namespace melflow::tools
