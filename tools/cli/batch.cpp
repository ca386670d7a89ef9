#include "tools/cli/batch.h"

#include <algorithm>
#include <iostream>
#include <map>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tools/cli/output.h"
#include "tools/cli/signals.h"

namespace melflow::tools {

std::string json_text(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

int for_each_item(const std::vector<std::string>& inputs, std::ostream* lines,
                  const std::function<nlohmann::json(const std::string&)>& work) {
  int failed = 0;
  Exit code = Exit::ok;
  for (const auto& input : inputs) {
    nlohmann::json item;
    try {
      item = work(input);
    } catch (const Error& e) {
      if (stop_requested()) break;
      std::cerr << "melflow: " << e.what() << "\n";
      item = {{"input", input}, {"error", e.what()}, {"exit_code", static_cast<int>(e.code())}};
      code = e.code();
      ++failed;
    }
    if (lines != nullptr) *lines << json_text(item) << std::endl;
    // A pipe or a disk that is gone is gone for the others too.
    if (stop_requested() || code == Exit::io_error) break;
  }
  if (stop_requested()) return signal_exit_code();
  if (failed == 0) return 0;
  return static_cast<int>(inputs.size() == 1 || code == Exit::io_error ? code : Exit::some_failed);
}

std::ostream* json_stream(bool asked, const std::string& output) {
  return !asked ? nullptr : output == "-" ? &std::cerr : &std::cout;
}

bool reads_stdin(const std::vector<std::string>& inputs) {
  return std::find(inputs.begin(), inputs.end(), "-") != inputs.end();
}

namespace {

std::filesystem::path stem_of(const std::string& input) {
  return input == "-" ? std::filesystem::path("stdin") : std::filesystem::path(input).stem();
}

}  // namespace

void Destination::check(const std::vector<std::string>& inputs) const {
  if (file.empty() == folder.empty()) throw Error(Exit::usage, "give either -o FILE or -d DIR for the output");
  if (!file.empty() && inputs.size() > 1) {
    throw Error(Exit::usage,
                "-o names one file, but there are " + std::to_string(inputs.size()) + " inputs; give -d DIR");
  }
  std::map<std::filesystem::path, std::string> seen;
  for (const auto& input : inputs) {
    const auto [first, is_new] = seen.emplace(stem_of(input), input);
    if (is_new || folder.empty()) continue;
    throw Error(Exit::usage, first->second + " and " + input +
                                 ": both would be written under one name; give them a folder each, one run for each");
  }
}

std::filesystem::path Destination::path_for(const std::string& input, const std::string& extension) const {
  std::filesystem::path out = file;
  if (file.empty()) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw Error(Exit::cannot_create, folder + ": cannot be made (" + error.message() + ")");
    out = std::filesystem::path(folder) / (stem_of(input).string() + extension);
  }
  require_other(out, {input});
  return out;
}

}  // namespace melflow::tools
