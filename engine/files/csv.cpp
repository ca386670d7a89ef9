#include "engine/files/csv.h"

#include <charconv>
#include <cmath>
#include <optional>

#include "audio/error.h"
#include "engine/files/shown_name.h"

namespace melflow::files {
namespace {

constexpr size_t kMaxColumns = size_t{1} << 20;

[[noreturn]] void refuse(const std::string& name, size_t line, const std::string& what) {
  throw Error(Exit::bad_data, name + ": line " + std::to_string(line) + ": " + what);
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// The first field and the rest behind its separator: one of ",;\t", else any number of blanks.
std::string_view take_field(std::string_view& rest, bool& more) {
  const auto hard = rest.find_first_of(",;\t");
  const auto soft = rest.find(' ');
  // Blanks around a comma do not separate; blanks alone do.
  const bool by_blank = hard == std::string_view::npos && soft != std::string_view::npos;
  const auto end = by_blank ? soft : hard;
  more = end != std::string_view::npos;
  const auto field = trimmed(rest.substr(0, end));
  rest = more ? rest.substr(end + 1) : std::string_view();
  if (by_blank) rest = trimmed(rest);
  return field;
}

std::optional<float> number(std::string_view field) {
  if (field.size() >= 2 && field.front() == '"' && field.back() == '"') field = field.substr(1, field.size() - 2);
  if (!field.empty() && field.front() == '+') field.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error != std::errc() || end != field.data() + field.size()) return std::nullopt;
  const auto single = static_cast<float>(value);
  if (!std::isfinite(single)) return std::nullopt;
  return single;
}

/// Appends the line's numbers; the first field that is none, where there is one.
std::optional<std::string_view> append_row(std::string_view line, std::vector<float>& values) {
  bool more = true;
  while (more) {
    const auto field = take_field(line, more);
    const auto value = number(field);
    if (!value) return field;
    values.push_back(*value);
  }
  return std::nullopt;
}

}  // namespace

NpyArray parse_csv(std::string_view text, const std::string& name) {
  NpyArray table{{0, 0}, {}};
  size_t line_number = 0;
  bool names_allowed = true;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto line = trimmed(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    ++line_number;
    if (line.empty() || line.front() == '#') continue;
    const size_t before = table.values.size();
    const auto wrong = append_row(line, table.values);
    if (wrong && names_allowed) {
      table.values.clear();
      names_allowed = false;
      continue;
    }
    names_allowed = false;
    if (wrong) refuse(name, line_number, shown_name(*wrong) + " is no finite number");
    const size_t columns = table.values.size() - before;
    if (columns > kMaxColumns) refuse(name, line_number, "more columns than a table has");
    if (table.shape[0] == 0) table.shape[1] = static_cast<int64_t>(columns);
    if (static_cast<int64_t>(columns) != table.shape[1]) {
      refuse(name, line_number,
             std::to_string(columns) + " columns, where the lines before have " + std::to_string(table.shape[1]));
    }
    ++table.shape[0];
  }
  if (table.shape[0] == 0) throw Error(Exit::bad_data, name + ": holds no rows of numbers");
  return table;
}

}  // namespace melflow::files
