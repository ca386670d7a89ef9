// The statistics of melflow bench, of times that are known.
#include "tools/bench/measurement.h"

#include <gtest/gtest.h>

namespace melflow::tools {
namespace {

Times times_of(const std::vector<double>& seconds) {
  Times times;
  for (const double s : seconds) times.add(s);
  return times;
}

TEST(Times, HaveTheirLeastTheirMiddleAndTheirMost) {
  const auto odd = times_of({5, 1, 3}), even = times_of({4, 1, 2, 8});
  EXPECT_EQ(odd.min(), 1);
  EXPECT_EQ(odd.median(), 3);
  EXPECT_EQ(even.median(), 3);  // the mean of 2 and 4
  EXPECT_EQ(times_of({7}).median(), 7);
  std::vector<double> hundred;
  for (int i = 100; i >= 1; --i) hundred.push_back(i);
  EXPECT_EQ(times_of(hundred).quantile(0.99), 99);
  EXPECT_EQ(even.json(1e3), (nlohmann::json{{"min", 1e3}, {"median", 3e3}, {"p99", 8e3}}));
}

TEST(Measurement, OfAMachineThatWasNotQuietIsNotReported) {
  const nlohmann::json line{{"bench", "b"}, {"subject", 1}, {"rival", 2}, {"error", 3}};
  EXPECT_EQ(judged(line, 95.1, 100), line);
  const auto noisy = judged(line, 90, 100);
  for (const char* key : {"subject", "rival", "error"}) EXPECT_FALSE(noisy.contains(key)) << key;
  EXPECT_NE(noisy["not_reported"].get<std::string>().find("10 %"), std::string::npos) << noisy;
  // The highest and the lowest of all looks count, not the first and the last.
  std::vector<double> peaks{100, 80, 100};
  size_t looks = 0;
  Measurement measurement("b", {}, {"a peak", [&] { return peaks.at(looks++); }});
  measurement.look();
  EXPECT_EQ(measurement.peak(), 100);
  EXPECT_TRUE(measurement.report(1, 2, 3).contains("not_reported"));
}

}  // namespace
}  // namespace melflow::tools
