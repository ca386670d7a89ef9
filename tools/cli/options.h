#pragma once

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace melflow::tools {

/// A number from `least` to `most`; NaN, which CLI::Range lets through, is none.
inline CLI::Validator within(double least, double most) {
  const auto text = [](double x) { return nlohmann::json(x).dump(); };
  const auto wanted = "a number from " + text(least) + " to " + text(most);
  return {[=](const std::string& given) {
            double value = 0;
            const bool number = CLI::detail::lexical_cast(given, value);
            return number && value >= least && value <= most ? std::string() : "'" + given + "' is not " + wanted;
          },
          ""};
}

/// A seed: CLI11 itself takes -1 and what is too large for the largest one.
inline CLI::Validator seeds() {
  return {[](const std::string& given) {
            uint64_t value = 0;
            const auto [end, status] = std::from_chars(given.data(), given.data() + given.size(), value);
            const bool whole = status == std::errc() && end == given.data() + given.size();
            return whole ? std::string() : "'" + given + "' is not a whole number from 0 to 18446744073709551615";
          },
          ""};
}

/// A name that is one: an empty word is what a script's unset variable leaves.
inline CLI::Validator named() {
  return {[](const std::string& given) { return given.empty() ? std::string("names nothing") : std::string(); }, ""};
}

/// A name for a run's folder.
inline CLI::Validator run_folder() {
  return {[](const std::string& given) {
            return given.empty() || given == "-" ? "a run is a folder, and stdout is none" : std::string();
          },
          ""};
}

// Options of several verbs.

inline void add_threads(CLI::App& app, int& threads) {
  app.add_option("--threads", threads, "CPU threads; 0: as many as there are cores")->check(CLI::Range(0, 1024));
}

inline void add_voice(CLI::App& app, std::string& voice) {
  app.add_option("--voice", voice,
                 "voice file, or name of a shipped voice (melflow voices lists them); default: the first of those")
      ->check(named());
}

/// Throws Error{usage} for an option that was given and says nothing in this place, which is said of `where`.
inline void refuse_options(const CLI::App& app, std::initializer_list<const char*> options, const std::string& where) {
  for (const char* option : options) {
    if (app.count(option) > 0) throw Error(Exit::usage, std::string(option) + ": means nothing " + where);
  }
}

/// An option, and the names of what takes it, apart by blanks.
using OptionTakers = std::pair<const char*, const char*>;

/// The same for each option that none of `asked` takes; no name among the takers is a part of another.
inline void refuse_unused(const CLI::App& app, std::initializer_list<OptionTakers> options,
                          const std::vector<std::string>& asked, const std::string& where) {
  for (const auto& [option, takers] : options) {
    const bool used = std::any_of(asked.begin(), asked.end(), [text = std::string_view(takers)](const auto& name) {
      return text.find(name) != std::string_view::npos;
    });
    if (!used) refuse_options(app, {option}, where);
  }
}

/// An option of "key=value" words takes all words up to the next option. Those that are none are inputs and are moved
/// behind `inputs`; but for words that look like a key or its value ("n_fft 512"), unless they are `names` of inputs:
/// for them it throws Error{usage}.
inline void take_settings(std::vector<std::string>& sets, std::vector<std::string>& inputs,
                          const std::vector<std::string>& names = {}) {
  std::vector<std::string> settings;
  for (auto& word : sets) {
    const bool setting = word.find('=') != std::string::npos;
    const bool bare = std::ranges::all_of(word, [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
    std::error_code error;
    if (!setting && bare && !std::filesystem::exists(word, error) && std::ranges::find(names, word) == names.end()) {
      throw Error(Exit::usage, "--set " + word + ": write it as key=value");
    }
    (setting ? settings : inputs).push_back(std::move(word));
  }
  sets = std::move(settings);
}

/// CLI11 reads whole numbers as C does, "010" as eight: leading zeros go before it looks.
inline void read_as_decimal(CLI::App& app) {
  const auto is_digit = [](char c) { return '0' <= c && c <= '9'; };
  for (auto* const option : app.get_options()) {
    const auto type = option->get_type_name();
    if (!type.starts_with("INT") && !type.starts_with("UINT")) continue;
    option->transform(CLI::Validator(
        [is_digit](std::string& given) {
          const size_t first = given.starts_with('-') || given.starts_with('+') ? 1 : 0;
          while (given.size() > first + 1 && given[first] == '0' && is_digit(given[first + 1])) given.erase(first, 1);
          return std::string();
        },
        ""));
  }
}

/// CLI11 takes its arguments last first.
inline void parse(CLI::App& app, std::vector<std::string> arguments) {
  read_as_decimal(app);
  std::reverse(arguments.begin(), arguments.end());
  app.parse(std::move(arguments));
}

}  // namespace melflow::tools
