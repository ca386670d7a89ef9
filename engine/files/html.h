#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace melflow::files {

/// The beginning of a page that needs nothing else, no network and no scripts, up to and with <body>. It ends with
/// kHtmlEnd.
std::string html_head(const std::string& title);
inline constexpr const char* kHtmlEnd = "</body></html>\n";

/// Text for an element or an attribute in double quotes.
std::string html_escaped(const std::string& text);

/// As data: URLs want it.
std::string base64(std::span<const std::byte> bytes);

/// Fixed digits; "–" for what is not finite.
std::string html_number(double value, int digits = 4);

}  // namespace melflow::files
