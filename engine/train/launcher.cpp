#include "engine/train/launcher.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "base/error.h"

namespace melflow::engine {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int number(const std::string& name, int least, int most) {
  const auto text = variable(name.c_str());
  int value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size() || value < least || value > most) {
    throw Error(Exit::usage, "the environment says " + name + "='" + text + "'; it must be a whole number from " +
                                 std::to_string(least) + " to " + std::to_string(most));
  }
  return value;
}

}  // namespace

std::string launchers_round() {
  for (const char* name : {"TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"}) {
    if (auto count = variable(name); !count.empty()) return count;
  }
  return "0";
}

std::string launch_name() {
  if (const auto job = variable("SLURM_JOB_ID"); !job.empty()) return "job " + job;
  const auto id = variable("TORCHELASTIC_RUN_ID");
  if (!id.empty() && id != "none") return "run " + id;
  // Numbers of processes come again; one with the same number that began at the same tick does not.
  const auto parent = std::to_string(::getppid());
  std::ifstream file("/proc/" + parent + "/stat");
  std::string stat((std::istreambuf_iterator<char>(file)), {});
  std::istringstream fields(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
  std::string field;
  constexpr int kStartTime = 20;  // of those behind the name, proc(5)
  for (int i = 0; i < kStartTime; ++i) fields >> field;
  return "parent " + parent + ", " + field;
}

std::optional<ProcessPlace> process_place() {
  const bool ours = !variable("WORLD_SIZE").empty() || !variable("RANK").empty();
  // A batch script of SLURM's is a task of its own, which has no address to meet at.
  const bool slurm = !ours && !variable("SLURM_PROCID").empty() && !variable("MASTER_ADDR").empty();
  if (!ours && !slurm) return std::nullopt;
  ProcessPlace place;
  place.size = number(ours ? "WORLD_SIZE" : "SLURM_NTASKS", 1, 1 << 16);
  if (place.size == 1) return std::nullopt;
  place.rank = number(ours ? "RANK" : "SLURM_PROCID", 0, place.size - 1);
  place.address = variable("MASTER_ADDR");
  if (place.address.empty()) throw Error(Exit::usage, "WORLD_SIZE is set, but MASTER_ADDR is not: say where rank 0 is");
  place.port = static_cast<uint16_t>(number("MASTER_PORT", 1, 65535));
  // A shell of SLURM's, where somebody sets RANK by hand, has a SLURM_LOCALID that is not that of this rank.
  const bool tasks =
      slurm || (variable("RANK") == variable("SLURM_PROCID") && variable("WORLD_SIZE") == variable("SLURM_NTASKS"));
  const char* local = variable("LOCAL_RANK").empty() && tasks ? "SLURM_LOCALID" : "LOCAL_RANK";
  place.local_rank = variable(local).empty() ? place.rank : number(local, 0, place.size - 1);
  place.store_is_there = variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
  return place;
}

}  // namespace melflow::engine
