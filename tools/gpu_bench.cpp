// The bench of the GPU's kernels alone, for machines that have a GPU and no audio libraries (tools/gpu_check):
// gpu_bench check [one] | bench | dump FOLDER [SECONDS]; one JSON object a line. check one: enough for a sanitizer.
// `melflow bench gpu` is the same bench.

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "audio/error.h"
#include "engine/gpu/measure.h"

int main(int argc, char** argv) {
  using namespace melflow;
  const std::vector<std::string> words(argv + 1, argv + argc);
  const auto print = [](const gpu::Measured& row) { std::cout << row.json() << std::endl; };
  try {
    const std::string what = words.empty() ? "" : words[0];
    if (what != "check" && what != "bench" && (what != "dump" || words.size() < 2)) {
      throw Error(Exit::usage, "gpu_bench check [one] | bench | dump FOLDER [SECONDS]");
    }
    const auto device = gpu::open_cuda_device();
    std::cerr << device->name() << ", " << device->multiprocessors() << " multiprocessors\n";
    if (what == "check" && !gpu::check(device, words.size() == 1, print))
      throw Error(Exit::internal, "the kernels are not right");
    if (what == "bench") gpu::bench(device, print);
    if (what == "dump") gpu::dump(device, words[1], words.size() > 2 ? std::atof(words[2].c_str()) : 10);
  } catch (const Error& error) {
    std::cerr << "gpu_bench: " << error.what() << "\n";
    return static_cast<int>(error.code());
  }
  return 0;
}
