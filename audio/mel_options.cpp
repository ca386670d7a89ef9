#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <variant>

#include "audio/mel.h"
#include "base/error.h"
#include "base/nearest.h"

namespace melflow::audio {
namespace {

/// One field of MelOptions by its name. The only list of them: parsing, printing and comparing all walk it.
struct Field {
  std::string name;
  std::variant<int MelOptions::*, double MelOptions::*, bool MelOptions::*, MelScale MelOptions::*,
               MelNorm MelOptions::*, Padding MelOptions::*>
      member;
};

const std::array<Field, 13>& fields() {
  static const std::array<Field, 13> all = {{{"sample_rate", &MelOptions::sample_rate},
                                             {"n_fft", &MelOptions::n_fft},
                                             {"hop_length", &MelOptions::hop_length},
                                             {"win_length", &MelOptions::win_length},
                                             {"n_mels", &MelOptions::n_mels},
                                             {"f_min", &MelOptions::f_min},
                                             {"f_max", &MelOptions::f_max},
                                             {"scale", &MelOptions::scale},
                                             {"norm", &MelOptions::norm},
                                             {"pad", &MelOptions::pad},
                                             {"centre", &MelOptions::centre},
                                             {"magnitude_epsilon", &MelOptions::magnitude_epsilon},
                                             {"log_floor", &MelOptions::log_floor}}};
  return all;
}

[[noreturn]] void fail_value(const std::string& key, const std::string& value, const std::string& wanted) {
  throw Error(Exit::config, "mel recipe: " + key + " cannot be '" + value + "'; give " + wanted);
}

template <typename Number>
void parse_number(const std::string& key, const std::string& value, Number& out, const char* wanted) {
  const char* end = value.data() + value.size();
  Number parsed{};
  const auto [stopped, error] = std::from_chars(value.data(), end, parsed);
  if (error != std::errc() || stopped != end || value.empty()) fail_value(key, value, wanted);
  if constexpr (std::is_floating_point_v<Number>) {
    if (!std::isfinite(parsed)) fail_value(key, value, wanted);
  }
  out = parsed;
}

/// Words in the order of the enum's values.
std::span<const std::string> words(MelScale) {
  static const std::array<std::string, 2> all = {"slaney", "htk"};
  return all;
}
std::span<const std::string> words(MelNorm) {
  static const std::array<std::string, 2> all = {"slaney", "none"};
  return all;
}
std::span<const std::string> words(Padding) {
  static const std::array<std::string, 2> all = {"reflect", "zero"};
  return all;
}
std::span<const std::string> words(bool) {
  static const std::array<std::string, 2> all = {"false", "true"};
  return all;
}

void parse(const std::string& key, const std::string& value, int& out) {
  parse_number(key, value, out, "a whole number");
}
void parse(const std::string& key, const std::string& value, double& out) { parse_number(key, value, out, "a number"); }
template <typename Enum>
void parse(const std::string& key, const std::string& value, Enum& out) {
  const auto all = words(out);
  const auto found = std::ranges::find(all, value);
  if (found == all.end()) fail_value(key, value, all[0] + " or " + all[1]);
  out = static_cast<Enum>(found - all.begin());
}

std::string print(int value) { return std::to_string(value); }
std::string print(double value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}
template <typename Enum>
std::string print(Enum value) {
  return words(value)[static_cast<size_t>(value)];
}

void require(bool condition, const std::string& message) {
  if (!condition) throw Error(Exit::config, "mel recipe: " + message);
}

}  // namespace

void MelOptions::validate() const {
  constexpr int kLargestFft = 1 << 16, kLargestBands = 4096, kHighestRate = 10'000'000;
  require(sample_rate >= 1 && sample_rate <= kHighestRate,
          "sample_rate is " + print(sample_rate) + "; it must be 1 to 10000000 Hz");
  require(n_fft >= 2 && n_fft <= kLargestFft && n_fft % 2 == 0,
          "n_fft is " + print(n_fft) + "; it must be even, 2 to 65536");
  require(hop_length >= 1 && hop_length <= n_fft,
          "hop_length is " + print(hop_length) + "; it must be 1 to n_fft (" + print(n_fft) + ")");
  require(win_length >= 1 && win_length <= n_fft,
          "win_length is " + print(win_length) + "; it must be 1 to n_fft (" + print(n_fft) + ")");
  require(n_mels >= 1 && n_mels <= kLargestBands, "n_mels is " + print(n_mels) + "; it must be 1 to 4096");
  require(f_max > 0.0 && f_max <= sample_rate / 2.0, "f_max is " + print(f_max) +
                                                         "; it must be positive and at most half the sample rate (" +
                                                         print(sample_rate / 2.0) + ")");
  require(f_min >= 0.0 && f_min < f_max, "f_min is " + print(f_min) + "; it must be 0 to f_max (" + print(f_max) + ")");
  require(magnitude_epsilon >= 0.0 && magnitude_epsilon <= 1.0,
          "magnitude_epsilon is " + print(magnitude_epsilon) + "; it must be 0 to 1");
  // Smaller ones are not normal float32 numbers.
  require(log_floor >= 1e-37 && log_floor <= 1.0, "log_floor is " + print(log_floor) + "; it must be 1e-37 to 1");
}

std::span<const std::string> mel_recipe_names() {
  static const std::array<std::string, 2> all = {"waveglow", "hifigan"};
  return all;
}

MelOptions mel_recipe(const std::string& name) {
  if (name == "waveglow") return {};
  if (name == "hifigan") return {.centre = false, .magnitude_epsilon = 1e-9};
  throw Error(Exit::config, "no mel recipe is called '" + name + "'" + suggestion(name, mel_recipe_names()));
}

void set_mel_option(MelOptions& options, const std::string& key, const std::string& value) {
  for (const Field& field : fields()) {
    if (field.name != key) continue;
    std::visit([&](auto member) { parse(key, value, options.*member); }, field.member);
    return;
  }
  std::vector<std::string> names;
  for (const Field& field : fields()) names.push_back(field.name);
  throw Error(Exit::config, "mel recipe: no setting is called '" + key + "'" + suggestion(key, names));
}

std::vector<std::pair<std::string, std::string>> mel_options_as_text(const MelOptions& options) {
  std::vector<std::pair<std::string, std::string>> text;
  for (const Field& field : fields()) {
    text.emplace_back(field.name, std::visit([&](auto member) { return print(options.*member); }, field.member));
  }
  return text;
}

std::string first_difference(const MelOptions& a, const MelOptions& b) {
  const auto texts_a = mel_options_as_text(a), texts_b = mel_options_as_text(b);
  for (size_t i = 0; i < texts_a.size(); ++i) {
    if (texts_a[i].second != texts_b[i].second) {
      return texts_a[i].first + " is " + texts_a[i].second + ", not " + texts_b[i].second;
    }
  }
  return {};
}

}  // namespace melflow::audio
