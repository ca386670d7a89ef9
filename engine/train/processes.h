#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace melflow::engine {

/// One process among those that train a model together.
struct ProcessPlace {
  int rank = 0, size = 1;
  std::string address;          ///< of rank 0
  uint16_t port = 0;            ///< where rank 0 listens
  bool store_is_there = false;  ///< torchrun itself listens at that port
};

/// How often the launcher has started this again: torchrun after a failure, SLURM a job that it requeued; "0" at first.
std::string launchers_round();

/// What the launcher says: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT (torchrun, or by hand), or SLURM_PROCID and
/// SLURM_NTASKS in place of the first two. Nothing where this is the only process. Throws Error{usage} where something
/// is missing or makes no sense.
std::optional<ProcessPlace> process_place();

/// Processes that train one model together, each on its share of every batch: LibTorch's own engine (c10d: TCPStore,
/// ProcessGroupGloo, and the Reducer of DistributedDataParallel). What c10d says has neither names nor secrets: whoever
/// reaches its ports is believed. So they are bound to the loopback interface, unless another is named.
/// Every method must be called by all of them, in the same order. A process that has gone ends the others with
/// Error{io_error}.
class Processes {
 public:
  /// Waits for the others, 5 minutes. `interface` is a network interface's name; empty: loopback. Throws Error{usage}
  /// where the address of rank 0 is not on loopback and no interface is named; Error{io_error}; Error{unavailable} in a
  /// build without Gloo.
  Processes(const ProcessPlace& place, const std::string& interface);
  ~Processes();
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;

  int rank() const;
  int size() const;

  /// From here on backward() leaves in the gradients of these parameters their mean over all processes.
  void share_gradients(const std::vector<torch::Tensor>& parameters);
  /// loss.backward(), sums going to the others in buckets while it still runs.
  void backward(const torch::Tensor& loss);

  double mean(double value);
  double from_first(double value);  ///< what the first process has
  bool any(bool value);
  /// Throws Error{bad_data} where the processes do not have the same: "they begin at different steps".
  void require_same(int64_t value, const std::string& otherwise);
  /// Returns when all have come here: nobody is left talking to one who has gone.
  void leave();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace melflow::engine
