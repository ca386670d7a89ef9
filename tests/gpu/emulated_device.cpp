#include "tests/gpu/emulated_device.h"

#include <cstring>
#include <vector>

#include "engine/gpu/context_kernel.h"
#include "engine/gpu/gate_kernel.h"
#include "engine/gpu/launch_shape.h"
#include "engine/gpu/output_kernel.h"
#include "engine/gpu/row_kernels.h"
#include "tests/gpu/emulated_block.h"

namespace melflow::gpu {
namespace {

class EmulatedDevice : public Device {
 public:
  EmulatedDevice(bool backwards, TensorCores tensor_cores, int multiprocessors)
      : backwards_(backwards), tensor_cores_(tensor_cores), multiprocessors_(multiprocessors) {}

  std::string name() const override { return "emulated"; }
  int multiprocessors() const override { return multiprocessors_; }
  TensorCores tensor_cores() const override { return tensor_cores_; }
  void* allocate(size_t bytes) override { return memory_.allocate(bytes); }
  void release(void* memory) noexcept override { memory_.release(memory); }
  void upload(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void download(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void wait() override {}

  void launch(const EnterArgs& args) override { run<EnterKernel>(args, grid_of(args)); }
  void launch(const CoupleArgs& args) override { run<CoupleKernel>(args, grid_of(args)); }
  void launch(const ContextArgs& args, TileShape shape) override {
    with_tile(shape, tensor_cores_, args.product, multiprocessors_,
              [&](auto tile) { run<ContextKernel<decltype(tile)>>(args, grid_of(tile, args.product)); });
  }
  void launch(const GateArgs& args, TileShape shape) override {
    with_tile(shape, tensor_cores_, args.product, multiprocessors_,
              [&](auto tile) { run<GateKernel<decltype(tile)>>(args, grid_of(tile, args.product)); });
  }
  void launch(const OutputArgs& args, TileShape shape) override {
    with_tile(shape, tensor_cores_, args.product, multiprocessors_, [&](auto tile) {
      if (args.product.columns > 0) {
        run<OutputKernel<decltype(tile), true>>(args, grid_of(tile, args.product));
      } else {
        run<OutputKernel<decltype(tile), false>>(args, grid_of(tile, args.product));
      }
    });
  }

  struct Launches : Recording {
    std::vector<std::function<void()>> all;
  };
  std::unique_ptr<Recording> record(const std::function<void()>& launches) override {
    auto out = std::make_unique<Launches>();
    recording_ = out.get();
    launches();
    recording_ = nullptr;
    return out;
  }
  void replay(Recording& recording) override {
    for (const auto& launch : static_cast<Launches&>(recording).all) launch();
  }
  double seconds(const std::function<void()>& work) override {
    work();
    return 1;
  }

 private:
  template <class Kernel>
  void run(const typename Kernel::Args& args, Grid grid) {
    const auto launch = [this, args, grid] {
      const int blocks = grid.x * grid.y;
      for (int i = 0; i < blocks; ++i) {
        const int at = backwards_ ? blocks - 1 - i : i;
        shared_.begin(Kernel::template kSharedBytes<EmulatedBlock>);
        EmulatedBlock block(memory_, shared_, Kernel::kThreads, at % grid.x, at / grid.x, backwards_);
        Kernel::run(block, args);
        block.finish();
      }
    };
    if (recording_ != nullptr) {
      recording_->all.push_back(launch);
    } else {
      launch();
    }
  }

  bool backwards_;
  TensorCores tensor_cores_;
  int multiprocessors_;
  EmulatedMemory memory_;
  SharedMemory shared_;
  Launches* recording_ = nullptr;
};

}  // namespace

std::shared_ptr<Device> emulated_device(bool backwards, TensorCores tensor_cores, int multiprocessors) {
  return std::make_shared<EmulatedDevice>(backwards, tensor_cores, multiprocessors);
}

}  // namespace melflow::gpu
