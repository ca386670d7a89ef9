// The bench of the GPU's kernels alone, for machines that have a GPU and no audio libraries (tools/gpu_check):
// gpu_bench check [one] | bench | dump FOLDER [SECONDS]; one JSON object a line. check one: enough for a sanitizer.
// check and bench go through all instructions that the GPU has, dump takes what melflow would take. `melflow bench gpu`
// is the same bench.

#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/gpu/measure.h"
#include "engine/gpu/open_gpu.h"

int main(int argc, char** argv) {
  using namespace melflow;
  const std::vector<std::string> words(argv + 1, argv + argc);
  bool right = true, all_right = true;
  const auto print = [&](const gpu::Measured& row) {
    std::cout << row.json() << std::endl;
    for (const auto& [name, value] : row.numbers) right = right && (name != "snr_db" || value > 40);  // nor is NaN
  };
  try {
    const std::string what = words.empty() ? "" : words[0];
    if (what != "check" && what != "bench" && (what != "dump" || words.size() < 2)) {
      throw Error(Exit::usage, "gpu_bench check [one] | bench | dump FOLDER [SECONDS]");
    }
    if (what == "dump") {
      gpu::dump(gpu::open_gpu(), words[1], words.size() > 2 ? std::atof(words[2].c_str()) : 10);
      return 0;
    }
    for (const auto tensor_cores : {gpu::TensorCores::warps, gpu::TensorCores::warpgroups}) {
      if (tensor_cores == gpu::TensorCores::warpgroups && !gpu::cuda_has(tensor_cores)) continue;
      const auto device = gpu::open_cuda_device(tensor_cores);
      std::cerr << device->name() << ", " << device->multiprocessors() << " multiprocessors, "
                << gpu::name_of(tensor_cores) << "\n";
      if (what == "bench") gpu::bench(device, print);
      if (what == "check") right = gpu::check(device, words.size() == 1, print) && right;
      if (!right) std::cerr << "the kernels are not right: " << gpu::name_of(tensor_cores) << "\n";
      all_right = all_right && std::exchange(right, true);
    }
    if (!all_right) return static_cast<int>(Exit::internal);
  } catch (const Error& error) {
    std::cerr << "gpu_bench: " << error.what() << "\n";
    return static_cast<int>(error.code());
  }
  return 0;
}
