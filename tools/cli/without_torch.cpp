// melflow's side of with_torch.h.
#include <nlohmann/json.hpp>

#include "tools/bench/benches.h"
#include "tools/cli/with_torch.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {

void keep_memory() {}

engine::Synthesizer open_on_gpu(const std::filesystem::path&, const engine::SynthOptions&) { throw NeedsTorch{}; }

std::string gpu_problem() {
  if (!std::filesystem::exists(torch_program())) return torch_program().string() + " is not built: tools/build release";
  throw NeedsTorch{};
}

void require_torch() { throw NeedsTorch{}; }

std::string torch_version() { return ""; }

void bench_train(const TrainBench&, const Print&) { throw NeedsTorch{}; }
void bench_waveglow(double, int, const Print&) { throw NeedsTorch{}; }

int run_eval(CLI::App&, std::vector<std::string>) { throw NeedsTorch{}; }
int run_flow(CLI::App&, std::vector<std::string>) { throw NeedsTorch{}; }
int run_score(CLI::App&, std::vector<std::string>) { throw NeedsTorch{}; }
int run_train(CLI::App&, std::vector<std::string>) { throw NeedsTorch{}; }

}  // namespace melflow::tools
