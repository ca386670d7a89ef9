#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cpu/tile_kernels.h"

namespace melflow::tools {

inline double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// How long the rounds of some work took.
class Times {
 public:
  template <typename Work>
  void take(Work&& work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    add(seconds_since(begin));
  }
  void add(double seconds) { seconds_.push_back(seconds); }
  /// The nearest of those that were taken: 0 the least, 1 the most.
  double quantile(double q) const;
  double min() const { return quantile(0); }
  double median() const;  ///< of an even number the mean of the middle two
  /// {"min", "median", "p99"}, seconds times `unit`. Of fewer than fifty p99 is the most.
  nlohmann::json json(double unit = 1) const;

 private:
  std::vector<double> seconds_;
};

/// What a machine can do at most, as it is now: operations a second.
struct Peak {
  std::string what;
  std::function<double()> operations_a_second;
};
/// Multiply-adds out of registers, of so many threads together.
Peak multiply_add_peak(cpu::Precision precision, int threads);

/// One line of any bench, in the schema of all of them:
///   bench, case (what was measured, and on how much), peak (what, giga_operations: before and after),
///   subject (its seconds as min, median and p99, and what follows from them), rival (the same, of something else that
///   does the same work; null), error (of exactly what was timed), machine, commit.
/// Where the peak moved by more than 5 % while it was measured, "not_reported" says so instead of subject, rival and
/// error.
class Measurement {
 public:
  /// Looks at the peak.
  Measurement(const std::string& bench, nlohmann::json conditions, Peak peak);
  /// Looks at the peak once more, for a measurement that takes long.
  void look();
  double peak() const;  ///< the highest that was seen
  /// Looks at the peak for the last time.
  nlohmann::json report(nlohmann::json subject, nlohmann::json rival, nlohmann::json error);

 private:
  nlohmann::json line_;
  Peak peak_;
  std::vector<double> peaks_;
};

/// The machine's CPU, cores and instruction set.
nlohmann::json machine();

/// A line whose peak was already looked at, as the GPU's bench does: by the same rule.
nlohmann::json judged(nlohmann::json line, double least_peak, double highest_peak);

}  // namespace melflow::tools
