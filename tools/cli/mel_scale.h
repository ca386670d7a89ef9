#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <string>

namespace melflow::tools {

/// Looks at the numbers of a mel that has no recipe, and says once, on stderr, where they are no natural logarithms of
/// magnitudes (but linear, decibels, log10, normalised): they would only be noise, and who made them would not know
/// why.
class MelScale {
 public:
  /// `name` of the mel, for the message.
  explicit MelScale(std::string name) : name_(std::move(name)) {}
  /// The next numbers, frame after frame. Says at once what no logarithm can be.
  void look(std::span<const float> values);
  /// Says what only the whole can show, or its first 80,000 numbers.
  void finish();

 private:
  void tell();

  std::string name_;
  float least_ = std::numeric_limits<float>::infinity(), most_ = -std::numeric_limits<float>::infinity();
  size_t looked_ = 0, at_least_ = 0;  // numbers, and those of them that are least_
  bool done_ = false;
};

}  // namespace melflow::tools
