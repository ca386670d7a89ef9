#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

#include "engine/train/launcher.h"

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

namespace melflow::engine {

/// How long one waits for another who is late, as all are while the first validates. That one has gone is known at
/// once.
inline constexpr std::chrono::minutes kPatience{120};

/// What adds up tensors that lie on a device, over all processes.
struct DeviceSums {
  using Open = std::function<c10::intrusive_ptr<c10d::Backend>(
      const c10::intrusive_ptr<c10d::Store>& store, const ProcessPlace& place, const std::string& interface)>;
  torch::DeviceType device = torch::kCPU;
  Open open;  ///< not needed for the CPU's
};

/// Processes that train one model together, each on its share of every batch: LibTorch's own engine (c10d: TCPStore,
/// ProcessGroupGloo for what lies on the CPU, and the Reducer of DistributedDataParallel). What c10d says has neither
/// names nor secrets: whoever reaches its ports is believed. So they are bound to the loopback interface, unless
/// another is named. Every method must be called by all of them, in the same order. A process that has gone ends the
/// others with Error{io_error}.
class Processes {
 public:
  /// Waits for the others to come, 5 minutes. `interface` is a network interface's name; empty: loopback. `sums` are
  /// for parameters on another device than the CPU. Throws Error{usage} where the address of rank 0 is not on loopback
  /// and no interface is named; Error{io_error}; Error{unavailable} in a build without Gloo.
  Processes(const ProcessPlace& place, const std::string& interface, const DeviceSums& sums = {});
  ~Processes();
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;

  int rank() const;
  int size() const;

  /// From here on backward() leaves in the gradients of these parameters their mean over all processes.
  void share_gradients(const std::vector<torch::Tensor>& parameters);
  /// loss.backward(), sums going to the others in buckets while it still runs. Returns when it is done, on a device
  /// too.
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
