#include "tools/cli/sub_verbs.h"

#include <iostream>

#include "audio/error.h"
#include "audio/nearest.h"

namespace melflow::tools {

int run_verb(const Verb& verb, const std::string& program, std::vector<std::string> arguments) {
  const std::string name = program + " " + verb.name;
  CLI::App app{verb.summary, name};
  app.set_help_flag("-h,--help", "show this help");
  try {
    return verb.run(app, std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return 0;
  } catch (const CLI::ParseError& e) {
    std::cerr << name << ": " << one_line(e.what()) << "; " << name << " --help lists the options\n";
    return static_cast<int>(Exit::usage);
  }
}

int run_sub_verbs(const SubVerbs& family, std::vector<std::string> arguments) {
  const std::string program = std::string("melflow ") + family.name;
  const std::string name = arguments.empty() ? "" : arguments.front();
  std::vector<std::string> names;
  for (const auto& verb : family.verbs) {
    names.emplace_back(verb.name);
    if (name != verb.name) continue;
    arguments.erase(arguments.begin());
    return run_verb(verb, program, std::move(arguments));
  }
  const bool help = name == "--help" || name == "-h";
  auto& out = help ? std::cout : std::cerr;
  if (!help && !name.empty()) {
    out << program << ": no verb '" << one_line(name) << "'; did you mean '" << nearest(name, names) << "'?\n";
    return static_cast<int>(Exit::usage);
  }
  out << program << ": " << family.about << "\nverbs:\n";
  for (const auto& verb : family.verbs) out << "  " << verb.name << "\t" << verb.summary << "\n";
  out << family.more << "\n" << program << " VERB --help tells more.\n";
  return help ? 0 : static_cast<int>(Exit::usage);
}

}  // namespace melflow::tools
