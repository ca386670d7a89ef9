#include "tools/cli/shipped_voices.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/nearest.h"
#include "tools/cli/with_torch.h"

namespace melflow::tools {

namespace fs = std::filesystem;

namespace {

/// What MELFLOW_VOICES says; empty is as good as not set.
std::string chosen_folder() {
  const char* folder = std::getenv("MELFLOW_VOICES");
  return folder == nullptr ? "" : folder;
}

}  // namespace

fs::path data_folder() {
  std::error_code error;
  const auto here = program_folder(), installed = here.parent_path() / "share/melflow";
  return !here.empty() && fs::is_directory(installed, error) ? installed : fs::path(MELFLOW_DATA_DIR);
}

std::vector<fs::path> shipped_voices() {
  const auto chosen = chosen_folder();
  std::error_code error;
  std::vector<fs::path> voices;
  for (const auto& entry :
       fs::directory_iterator(chosen.empty() ? data_folder() / "voices" : fs::path(chosen), error)) {
    std::error_code unknown;
    if (entry.path().extension() == ".safetensors" && entry.is_regular_file(unknown)) voices.push_back(entry.path());
  }
  std::sort(voices.begin(), voices.end());
  return voices;
}

Error no_voices() {
  const auto chosen = chosen_folder();
  const auto where = chosen.empty() ? "no voice is shipped here" : "MELFLOW_VOICES=" + chosen + ": no voices are there";
  return Error(Exit::no_input, where + "; name the file of one, or set MELFLOW_VOICES to a folder of them");
}

std::vector<std::string> shipped_names() {
  std::vector<std::string> names;
  for (const auto& voice : shipped_voices()) names.push_back(voice.stem().string());
  return names;
}

fs::path named_input(const std::string& name) {
  std::error_code error;
  if (fs::exists(name, error)) return name;
  for (const auto& voice : shipped_voices()) {
    if (voice.stem() == name) return voice;
  }
  return name;
}

fs::path find_voice(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const auto voices = shipped_voices();
  if (name.empty() && !voices.empty()) return voices.front();
  std::error_code error;
  if (auto found = named_input(name); fs::exists(found, error)) return found;
  const auto names = shipped_names();
  if (names.empty()) throw no_voices();
  throw Error(Exit::no_input, name + ": no such file, and no shipped voice of that name" + suggestion(name, names));
}

}  // namespace melflow::tools
