#pragma once

#include <span>
#include <string>
#include <vector>

#include "tools/verbs/verbs.h"

namespace melflow::tools {

/// A program that is a family of verbs: `melflow VERB …`, or `melflow flow VERB …`.
struct VerbFamily {
  std::string program;  ///< "melflow flow"
  std::span<const Verb> verbs;
  std::string about;      ///< its help, before the list of verbs
  std::string more = "";  ///< and behind it
};

/// Runs the verb that the first argument names; `help VERB` is `VERB --help`. Without one, or with one that is none,
/// says what there is; exit code 64.
int run_family(const VerbFamily& family, std::vector<std::string> arguments);

}  // namespace melflow::tools
