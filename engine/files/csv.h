#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "engine/files/npy.h"

namespace melflow::files {

/// A table of numbers as text: a row a line (which ends as Unix, Windows or old spreadsheets end it), separated by
/// tabs, semicolons, commas or blanks, by one of these in all lines. Lines that begin with '#' and empty ones are
/// passed over; a first line without any number holds the columns' names. → shape [rows, columns]. Throws
/// Error{bad_data} that names the line: another number of columns, what is no finite number, nothing at all.
NpyArray parse_csv(std::string_view text, const std::string& name);

}  // namespace melflow::files
