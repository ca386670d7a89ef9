#include "tools/cli/verb_family.h"

#include <algorithm>
#include <iomanip>
#include <iostream>

#include "base/error.h"
#include "base/nearest.h"

namespace melflow::tools {
namespace {

/// For options that there are not: those that were meant.
std::string meant_options(const CLI::App& app) {
  std::vector<std::string> names;
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back(name);
  }
  std::string text;
  for (const auto& word : app.remaining()) {
    const auto name = word.starts_with("--") ? word.substr(2, word.find('=') - 2) : std::string();
    if (const auto meant = nearest(name, names); !meant.empty()) text += "; did you mean --" + meant + "?";
  }
  return text;
}

/// Its help, and one line for a command line that makes no sense.
int run_verb(const Verb& verb, const std::string& program, std::vector<std::string> arguments) {
  const std::string name = program + " " + verb.name;
  CLI::App app{verb.summary, name};
  app.set_help_flag("-h,--help", "show this help");
  try {
    return verb.run(app, std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return 0;
  } catch (const CLI::ExtrasError& e) {
    std::cerr << name << ": " << one_line(e.what() + meant_options(app)) << "; " << name
              << " --help lists the options\n";
    return static_cast<int>(Exit::usage);
  } catch (const CLI::ParseError& e) {
    std::cerr << name << ": " << one_line(e.what()) << "; " << name << " --help lists the options\n";
    return static_cast<int>(Exit::usage);
  }
}

void print_help(const VerbFamily& family, std::ostream& out) {
  out << family.program << ": " << family.about << "\nverbs:\n";
  for (const auto& verb : family.verbs) out << "  " << std::left << std::setw(10) << verb.name << verb.summary << "\n";
  out << family.more << "\n" << family.program << " VERB --help tells more.\n";
}

bool is_help(const std::string& word) { return word == "help" || word == "--help" || word == "-h"; }

}  // namespace

int run_family(const VerbFamily& family, std::vector<std::string> arguments) {
  const auto first = std::find_if_not(arguments.begin(), arguments.end(), is_help);
  const bool help = first != arguments.begin();
  arguments.erase(arguments.begin(), first);
  if (arguments.empty()) {
    print_help(family, help ? std::cout : std::cerr);
    return help ? 0 : static_cast<int>(Exit::usage);
  }
  const std::string name = arguments.front();
  const auto verb = std::ranges::find(family.verbs, name, &Verb::name);
  if (verb == family.verbs.end()) {
    std::vector<std::string> names;
    for (const auto& v : family.verbs) names.emplace_back(v.name);
    std::cerr << family.program << ": no verb '" << one_line(name) << "'" << suggestion(name, names) << "\n";
    return static_cast<int>(Exit::usage);
  }
  arguments.erase(arguments.begin());
  if (help) arguments.emplace_back("--help");
  return run_verb(*verb, family.program, std::move(arguments));
}

}  // namespace melflow::tools
