#include "tools/bench/measurement.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <thread>

#include "engine/build_info.h"
#include "engine/kernels/thread_team.h"

namespace melflow::tools {

using nlohmann::json;

double Times::quantile(double q) const {
  auto sorted = seconds_;
  const auto at = static_cast<size_t>(std::lround(q * static_cast<double>(sorted.size() - 1)));
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(at), sorted.end());
  return sorted[at];
}

double Times::median() const {
  auto sorted = seconds_;
  std::ranges::sort(sorted);
  const auto half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

json Times::json(double unit) const {
  return {{"min", unit * min()}, {"median", unit * median()}, {"p99", unit * quantile(0.99)}};
}

Peak multiply_add_peak(cpu::Precision precision, int threads) {
  const auto team = std::make_shared<engine::ThreadTeam>(threads);
  const auto& product = cpu::tile_kernels().product(precision);
  const auto once = [team, &product] {
    constexpr long kRounds = 2'000'000;
    Times times;
    times.take([&] { team->run([&](const engine::ThreadTeam::Member&) { product.peak(kRounds); }); });
    return team->size() * kRounds * product.peak_operations / times.min();
  };
  // The best of some: what took a core away for a moment is not the machine's limit.
  return {std::string("multiply-adds out of registers, ") + cpu::name_of(precision) + ", " + std::to_string(threads) +
              (threads == 1 ? " thread" : " threads"),
          [once] {
            return std::max({once(), once(), once(), once()});
          }};
}

json machine() {
  std::ifstream info("/proc/cpuinfo");
  std::string cpu = "unknown";
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    cpu = line.substr(std::min(line.size(), line.find(':') + 2));
    break;
  }
  return {{"cpu", cpu}, {"cores", std::thread::hardware_concurrency()}, {"kernels", cpu::tile_kernels().name}};
}

json judged(json line, double least_peak, double highest_peak) {
  constexpr double kMost = 0.05;
  if (least_peak >= (1 - kMost) * highest_peak) return line;
  for (const char* key : {"subject", "rival", "error"}) line.erase(key);
  line["not_reported"] = "the machine's peak moved by " +
                         std::to_string(std::lround(100 * (1 - least_peak / highest_peak))) +
                         " % while this was measured; run it again when nothing else runs";
  return line;
}

Measurement::Measurement(const std::string& bench, json conditions, Peak peak) : peak_(std::move(peak)) {
  line_ = {{"bench", bench}, {"case", std::move(conditions)}, {"machine", machine()}, {"commit", engine::commit()}};
  look();
}

void Measurement::look() { peaks_.push_back(peak_.operations_a_second()); }

double Measurement::peak() const { return *std::max_element(peaks_.begin(), peaks_.end()); }

json Measurement::report(json subject, json rival, json error) {
  look();
  line_["peak"] = {{"what", peak_.what},
                   {"giga_operations", {{"before", 1e-9 * peaks_.front()}, {"after", 1e-9 * peaks_.back()}}}};
  line_["subject"] = std::move(subject);
  line_["rival"] = std::move(rival);
  line_["error"] = std::move(error);
  return judged(line_, *std::min_element(peaks_.begin(), peaks_.end()), peak());
}

}  // namespace melflow::tools
