#pragma once

#include <algorithm>
#include <concepts>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/nearest.h"

namespace melflow::engine {

/// Options structs ↔ JSON: a struct has `fields(options, visit)`, which calls visit(name, field) for each field; an
/// enumeration has `enum_names(E)`, its names in the order of its values.
///
/// Reads the fields that the object has and leaves the others as they are. Throws Error{config} that names
/// `name`: `section`.key and what is wanted.
struct OptionReader {
  const nlohmann::json& object;
  std::string name, section;
  int64_t largest = std::numeric_limits<int64_t>::max();  ///< of whole numbers; the smallest is 0
  std::vector<std::string> known{};

  template <typename Field>
  void operator()(const char* key, Field& field) {
    known.emplace_back(key);
    const auto found = object.find(key);
    if (found != object.end()) read(key, *found, field);
  }

  /// Throws Error{config} for a key that no field has, with the nearest one that exists.
  void refuse_unknown() const {
    for (const auto& [key, value] : object.items()) {
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        throw Error(Exit::config, name + ": unknown key " + section + "." + key + suggestion(key, known));
      }
    }
  }

 private:
  [[noreturn]] void refuse(const char* key, const nlohmann::json& value, const std::string& want) const {
    throw Error(Exit::config, name + ": " + section + "." + key + " is " + value.dump() + "; it must be " + want);
  }
  void read(const char* key, const nlohmann::json& value, int64_t& field) const {
    const bool whole = value.is_number_unsigned() || (value.is_number_integer() && value.get<int64_t>() >= 0);
    const bool fits = whole && value.get<uint64_t>() <= static_cast<uint64_t>(largest);
    if (!fits) refuse(key, value, "a whole number from 0 to " + std::to_string(largest));
    field = value.get<int64_t>();
  }
  void read(const char* key, const nlohmann::json& value, bool& field) const {
    if (!value.is_boolean()) refuse(key, value, "true or false");
    field = value.get<bool>();
  }
  void read(const char* key, const nlohmann::json& value, double& field) const {
    if (!value.is_number() || value.get<double>() < 0) refuse(key, value, "a number, not below 0");
    field = value.get<double>();
  }
  void read(const char* key, const nlohmann::json& value, std::string& field) const {
    if (!value.is_string()) refuse(key, value, "text");
    field = value.get<std::string>();
  }
  template <typename Enum>
  requires std::is_enum_v<Enum>
  void read(const char* key, const nlohmann::json& value, Enum& field) const {
    const auto names = enum_names(Enum{});
    std::string wanted;
    for (size_t i = 0; i < names.size(); ++i) {
      if (value == names[i]) {
        field = static_cast<Enum>(i);
        return;
      }
      wanted += std::string(i > 0 ? " or " : "") + "\"" + names[i] + "\"";
    }
    refuse(key, value, wanted);
  }
};

/// The entry of `all` whose `name` is the one that config's "system" says, or `otherwise` where it says none. Throws
/// Error{config} for no object, or a name that none has, with the nearest one.
template <typename System>
const System& system_named_by(const nlohmann::json& config, const char* otherwise, const std::vector<System>& all,
                              const std::string& name) {
  if (!config.is_object()) throw Error(Exit::config, name + ": the model's configuration is no JSON object");
  const auto wanted = config.value("system", nlohmann::json(otherwise));
  std::vector<std::string> names;
  for (const auto& system : all) {
    if (wanted == system.name) return system;
    names.push_back(system.name);
  }
  throw Error(Exit::config, name + ": model.system is " + wanted.dump() +
                                suggestion(wanted.is_string() ? wanted.get<std::string>() : "", names));
}

struct OptionWriter {
  nlohmann::json out = nlohmann::json::object();

  template <typename Field>
  void operator()(const char* key, const Field& field) {
    if constexpr (std::is_enum_v<Field>) {
      out[key] = enum_names(Field{})[static_cast<size_t>(field)];
    } else {
      out[key] = field;
    }
  }
};

}  // namespace melflow::engine
