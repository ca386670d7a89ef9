// melflow's side of with_torch.h.
#include <nlohmann/json.hpp>

#include "tools/bench_waveglow.h"
#include "tools/verbs.h"
#include "tools/with_torch.h"

namespace melflow::tools {

void keep_memory() {}

engine::Synthesizer open_on_gpu(const std::filesystem::path&, const engine::SynthOptions&) { throw NeedsTorch{}; }

std::string gpu_problem() {
  if (!std::filesystem::exists(torch_program())) return torch_program().string() + " is not built: tools/build release";
  throw NeedsTorch{};
}

void require_torch() { throw NeedsTorch{}; }

std::string torch_version() { return ""; }

nlohmann::json bench_waveglow(double, int) { throw NeedsTorch{}; }

int run_eval(CLI::App&, std::vector<std::string>) { throw NeedsTorch{}; }
int run_flow(CLI::App&, std::vector<std::string>) { throw NeedsTorch{}; }
int run_score(CLI::App&, std::vector<std::string>) { throw NeedsTorch{}; }
int run_train(CLI::App&, std::vector<std::string>) { throw NeedsTorch{}; }

}  // namespace melflow::tools
