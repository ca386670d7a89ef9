#include "audio/sink.h"

#include <algorithm>
#include <cctype>

#include "audio/clock_sink.h"
#include "audio/portaudio_io.h"
#include "base/error.h"

namespace melflow::audio {
namespace {

constexpr std::string_view kClock = "clock";

}  // namespace

bool is_clock_name(const std::string& name) {
  return name.starts_with(kClock) && name.size() > kClock.size() &&
         (name[kClock.size()] == ':' || name[kClock.size()] == '@');
}

std::string clock_file(const std::string& name) {
  const size_t colon = name.find(':');
  return colon == std::string::npos ? "" : name.substr(colon + 1);
}

std::unique_ptr<Sink> open_sink(const std::string& name, int rate, bool low_latency) {
  if (!is_clock_name(name)) return open_portaudio_sink(name, rate, low_latency);
  const size_t colon = name.find(':');
  const std::string file = clock_file(name);
  if (name[kClock.size()] == '@') {
    const std::string digits = name.substr(kClock.size() + 1, std::min(colon, name.size()) - kClock.size() - 1);
    const bool number = !digits.empty() && digits.size() <= 6 &&
                        std::ranges::all_of(digits, [](unsigned char c) { return std::isdigit(c) != 0; });
    rate = number ? std::stoi(digits) : 0;
  }
  if (file.empty() || rate < 1000) {
    throw Error(Exit::usage, name + ": no such clock; give clock:FILE or clock@48000:FILE");
  }
  return open_clock_sink(file, rate);
}

}  // namespace melflow::audio
