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
  explicit EmulatedDevice(const Emulation& as) : as_(as) {}

  std::string name() const override { return "emulated"; }
  int multiprocessors() const override { return as_.multiprocessors; }
  int shared_bytes() const override { return as_.shared_bytes; }
  TensorCores tensor_cores() const override { return as_.tensor_cores; }
  void* allocate(size_t bytes) override {
    not_while_recording("allocates");
    return memory_.allocate(bytes);
  }
  void release(void* memory) noexcept override { memory_.release(memory); }
  void upload(void* to, const void* from, size_t bytes) override {
    not_while_recording("uploads");
    std::memcpy(to, from, bytes);
  }
  void download(void* to, const void* from, size_t bytes) override {
    not_while_recording("downloads");
    std::memcpy(to, from, bytes);
  }
  void wait() override { not_while_recording("waits"); }

  void launch(const EnterArgs& args) override { run<EnterKernel>(args, grid_of(args)); }
  void launch(const CoupleArgs& args) override { run<CoupleKernel>(args, grid_of(args)); }
  void launch(const ContextArgs& args, TileShape shape) override {
    with_tile(shape, *this, args.product,
              [&](auto tile) { run<ContextKernel<decltype(tile)>>(args, grid_of(tile, args.product)); });
  }
  void launch(const GateArgs& args, TileShape shape) override {
    with_tile(shape, *this, args.product,
              [&](auto tile) { run<GateKernel<decltype(tile)>>(args, grid_of(tile, args.product)); });
  }
  void launch(const OutputArgs& args, TileShape shape) override {
    with_tile(shape, *this, args.product, [&](auto tile) {
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
    not_while_recording("records");
    auto out = std::make_unique<Launches>();
    recording_ = out.get();
    try {
      launches();
    } catch (...) {
      recording_ = nullptr;
      throw;
    }
    recording_ = nullptr;
    return out;
  }
  void replay(Recording& recording) override {
    not_while_recording("replays");
    for (const auto& launch : static_cast<Launches&>(recording).all) launch();
  }
  double seconds(const std::function<void()>& work) override {
    work();
    return 1;
  }

 private:
  /// A GPU refuses it: a recording holds nothing but launches.
  void not_while_recording(const char* what) const {
    if (recording_ != nullptr) fault("a recording ", what);
  }

  template <class Kernel>
  void run(const typename Kernel::Args& args, Grid grid) {
    constexpr int kMostRows = 65535;  // CUDA's, of a grid's second dimension
    if (grid.x < 1 || grid.y < 1 || grid.y > kMostRows) fault("a grid of ", grid.x, " x ", grid.y);
    const auto launch = [this, args, grid] {
      const int blocks = grid.x * grid.y;
      for (int i = 0; i < blocks; ++i) {
        const int at = as_.backwards ? blocks - 1 - i : i;
        constexpr int shared = Kernel::template kSharedBytes<EmulatedBlock>;
        if (shared > as_.shared_bytes) fault("a block wants ", shared, " bytes of shared memory");
        shared_.begin(shared);
        EmulatedBlock block(memory_, shared_, Kernel::kThreads, at % grid.x, at / grid.x, as_.backwards);
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

  Emulation as_;
  EmulatedMemory memory_;
  SharedMemory shared_;
  Launches* recording_ = nullptr;
};

}  // namespace

std::shared_ptr<Device> emulated_device(const Emulation& as) { return std::make_shared<EmulatedDevice>(as); }

}  // namespace melflow::gpu
