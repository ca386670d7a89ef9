#include "engine/files/csv.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
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

/// What separates the fields of a file, by its first line: a tab, else ';', else ',', else ' ', which stands for any
/// number of blanks.
char separator_of(std::string_view line) {
  for (const char c : {'\t', ';', ','}) {
    if (line.find(c) != std::string_view::npos) return c;
  }
  return ' ';
}

/// A separator at the end of a line begins no field. Of more than kMaxColumns fields those behind are left out.
std::vector<std::string_view> fields_of(std::string_view line, char separator) {
  std::vector<std::string_view> fields;
  while (!line.empty() && fields.size() <= kMaxColumns) {
    const auto end = line.find(separator);
    fields.push_back(trimmed(line.substr(0, end)));
    if (end == std::string_view::npos) break;
    line = separator == ' ' ? trimmed(line.substr(end)) : line.substr(end + 1);
  }
  return fields;
}

std::string_view unquoted(std::string_view field) {
  const bool quoted = field.size() >= 2 && field.front() == '"' && field.back() == '"';
  return quoted ? field.substr(1, field.size() - 2) : field;
}

/// As it is written, whatever single precision makes of it.
std::optional<double> written_number(std::string_view field) {
  field = unquoted(field);
  if (!field.empty() && field.front() == '+') field.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  const bool whole = end == field.data() + field.size();
  if (whole && error == std::errc::result_out_of_range) {
    return field.find_first_of("eE") != std::string_view::npos && field.find('-', 1) != std::string_view::npos
               ? 0.0
               : HUGE_VAL;
  }
  if (!whole || error != std::errc()) return std::nullopt;
  return value;
}

std::optional<float> number(std::string_view field) {
  const auto written = written_number(field);
  if (!written || !std::isfinite(static_cast<float>(*written))) return std::nullopt;
  return static_cast<float>(*written);
}

/// A number, finite or not, or one of the words for a value that is missing: no name of a column.
bool is_value(std::string_view field) {
  static constexpr std::string_view kMissing[] = {"na", "n/a", "null", "none", "?", "-"};
  std::string small(unquoted(field));
  std::ranges::transform(small, small.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return written_number(field).has_value() || std::ranges::find(kMissing, small) != std::end(kMissing);
}

/// Names of columns, of which some may have none, as pandas leaves that of its index.
bool are_names(const std::vector<std::string_view>& fields) {
  return std::ranges::none_of(fields, is_value) &&
         std::ranges::any_of(fields, [](std::string_view field) { return !unquoted(field).empty(); });
}

[[noreturn]] void refuse_field(const std::string& name, size_t line, std::string_view field) {
  const bool digits = field.find_first_of("0123456789") != std::string_view::npos;  // not the word for infinity
  if (const auto written = written_number(field);
      digits && written && std::abs(*written) > std::numeric_limits<float>::max()) {
    refuse(name, line, shown_name(field) + " is no finite number in single precision; bring the column to scale");
  }
  const auto comma = field.find(',');
  const auto digit = [&](size_t at) { return at < field.size() && field[at] >= '0' && field[at] <= '9'; };
  const bool decimal = comma != std::string_view::npos && comma > 0 && digit(comma - 1) && digit(comma + 1);
  const char* hint = decimal     ? "; write 0.5, not 0,5"
                     : line == 1 ? "; a line of names holds no number, or begins with #"
                                 : "";
  refuse(name, line, shown_name(field) + " is no finite number" + hint);
}

}  // namespace

NpyArray parse_csv(std::string_view text, const std::string& name) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (text.find('\0') != std::string_view::npos) {
    throw Error(Exit::bad_data, name + ": is no table of UTF-8 text (it holds zero bytes); save it as CSV or .npy");
  }
  NpyArray table{{0, 0}, {}};
  size_t line_number = 0;
  bool names_allowed = true;
  size_t named = 0;
  char separator = ' ';
  // Old spreadsheets end their lines by a carriage return alone.
  const char end_of_line = text.find('\n') != std::string_view::npos ? '\n' : '\r';
  while (!text.empty()) {
    const auto end = text.find(end_of_line);
    const auto line = trimmed(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    ++line_number;
    if (line.empty() || line.front() == '#') continue;
    if (table.shape[0] == 0) separator = separator_of(line);
    const auto fields = fields_of(line, separator);
    if (fields.size() > kMaxColumns) refuse(name, line_number, "more columns than a table has");
    const bool names = names_allowed && are_names(fields);
    names_allowed = false;
    if (names) {
      named = fields.size();
      continue;
    }
    for (const auto field : fields) {
      const auto value = number(field);
      if (!value) refuse_field(name, line_number, field);
      table.values.push_back(*value);
    }
    const size_t columns = fields.size();
    if (named > 0 && named != columns && separator != ' ') {  // a name may have blanks in it
      refuse(name, line_number, std::to_string(columns) + " columns, where " + std::to_string(named) + " are named");
    }
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
