#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace melflow::engine {

/// One process among those that train a model together.
struct ProcessPlace {
  int rank = 0, size = 1;
  int local_rank = 0;           ///< among those of the same machine, as far as the launcher tells; else the rank
  std::string address;          ///< of rank 0
  uint16_t port = 0;            ///< where rank 0 listens
  bool store_is_there = false;  ///< torchrun itself listens at that port
};

/// How often the launcher has started this again: torchrun after a failure, SLURM a job that it requeued; "0" at first.
std::string launchers_round();

/// What is the same in all rounds of one launch, and in no other: SLURM's job, torchrun's --rdzv-id, else the process
/// that started this one.
std::string launch_name();

/// What the launcher says: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT (torchrun, or by hand), or SLURM_PROCID and
/// SLURM_NTASKS in place of the first two; LOCAL_RANK or SLURM_LOCALID where there is one. Nothing where this is the
/// only process. Throws Error{usage} where something is missing or makes no sense.
std::optional<ProcessPlace> process_place();

}  // namespace melflow::engine
