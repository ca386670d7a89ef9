#include <cmath>

#include "engine/build_info.h"
#include "engine/gpu/measure.h"
#include "engine/gpu/open_gpu.h"
#include "tools/bench/benches.h"
#include "tools/bench/measurement.h"

namespace melflow::tools {
namespace {

using nlohmann::json;

/// A row of engine/gpu in the schema of all benches: what says how good the sound is goes to `error`, what was looked
/// at before and after to `peak`, the times and all else to `subject`.
json line_of(const gpu::Measured& row, const std::string& device) {
  json subject = json::object(), error = nullptr, peak = {{"what", gpu::kProbe}};
  double before = 0, after = 0;
  auto seconds = json::object();
  for (const auto& [name, value] : row.numbers) {
    if (name == "snr_db") {
      error = {{"what", "SNR of the first frames against the plain inverse in double"}, {"snr_db", value}};
    } else if (name == "probe_tflops_before" || name == "probe_tflops_after") {
      (name == "probe_tflops_before" ? before : after) = value;
    } else if (name == "min_ms" || name == "median_ms" || name == "p99_ms") {
      seconds[name.substr(0, name.size() - 3)] = 1e-3 * value;
    } else {
      subject[name] = std::isfinite(value) ? json(value) : json();
    }
  }
  subject["seconds"] = seconds;
  peak["giga_operations"] = {{"before", 1e3 * before}, {"after", 1e3 * after}};
  auto where = machine();
  where["gpu"] = device;
  return judged({{"bench", "gpu"},
                 {"case", {{"what", row.what}}},
                 {"peak", peak},
                 {"subject", subject},
                 {"rival", nullptr},  // tools/gpu_check runs PyTorch on the same weights, mel and noise
                 {"error", error},
                 {"machine", where},
                 {"commit", engine::commit()}},
                std::min(before, after), std::max(before, after));
}

}  // namespace

void bench_gpu(const Print& print) {
  const auto device = gpu::open_gpu();
  gpu::bench(device, [&](const gpu::Measured& row) { print(line_of(row, device->name())); });
}

}  // namespace melflow::tools
