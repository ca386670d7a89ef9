#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace melflow::tools {

/// On one line; names of files need not be UTF-8, JSON must be.
std::string json_text(const nlohmann::json& value);

/// Works through the inputs of a verb, `at_once` of them at a time, each in a thread of its own. `work` answers the
/// item's JSON; what it throws is one line on stderr, and the others go on. Prints one JSON object an item to `json`,
/// where there is one. These and the errors come in the order of the inputs, whichever are done first; what `work`
/// prints itself does not. No more at once than memory holds; what others left none for is done alone at the end. The
/// exit code: that of the failure where there was one input, 74 where a disk or pipe is gone, 1 where some of several
/// failed.
int for_each_item(const std::vector<std::string>& inputs, std::ostream* json,
                  const std::function<nlohmann::json(const std::string&)>& work, int at_once = 1);

/// Where JSON goes that is asked for: stdout, or stderr where `output` is "-" and there already. None where it is not.
std::ostream* json_stream(bool asked, const std::string& output = "");

/// Whether "-" is among them.
bool reads_stdin(const std::vector<std::string>& inputs);

/// Where an item's output goes: -o FILE (one input only), or -d DIR with the input's stem and this extension.
struct Destination {
  std::string file, folder;
  bool force = false;

  /// Throws Error{usage} where neither or both are given, or several inputs share one file.
  void check(const std::vector<std::string>& inputs) const;
  std::filesystem::path path_for(const std::string& input, const std::string& extension) const;
};

}  // namespace melflow::tools
