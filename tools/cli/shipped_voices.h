#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"

namespace melflow::tools {

/// What is shipped: voices, samples, recordings to measure with; share/melflow where the program is installed, else the
/// source tree's data/.
std::filesystem::path data_folder();

/// The shipped voices: $MELFLOW_VOICES, or those of data_folder().
std::vector<std::filesystem::path> shipped_voices();
std::vector<std::string> shipped_names();

/// Says that there are none, and where they were looked for.
Error no_voices();

/// The shipped voice of that name, where there is no such file.
std::filesystem::path named_input(const std::string& name);

/// A voice by its file or, for a bare name, among the shipped ones. Empty: the shipped default. Throws Error{no_input}.
std::filesystem::path find_voice(const std::string& name);

}  // namespace melflow::tools
