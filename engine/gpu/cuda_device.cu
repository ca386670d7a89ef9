#include <algorithm>
#include <cstring>

#include <cuda_runtime.h>

#include "base/error.h"
#include "engine/gpu/context_kernel.h"
#include "engine/gpu/cuda_block.h"
#include "engine/gpu/device.h"
#include "engine/gpu/gate_kernel.h"
#include "engine/gpu/launch_shape.h"
#include "engine/gpu/output_kernel.h"
#include "engine/gpu/row_kernels.h"

namespace melflow::gpu {
namespace {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // it is told here, and must not be taken for the next kernel's
  const auto code = status == cudaErrorMemoryAllocation ? Exit::unavailable : Exit::internal;
  throw Error(code, std::string("GPU: ") + what + ": " + cudaGetErrorString(status));
}

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads) entry(const __grid_constant__ typename Kernel::Args args) {
  CudaBlock block;
  Kernel::run(block, args);
}

class CudaDevice : public Device {
 public:
  CudaDevice(const cudaDeviceProp& properties, TensorCores tensor_cores)
      : properties_(properties), tensor_cores_(tensor_cores) {
    check(cudaSetDevice(0), "cannot open it");
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "no stream");
    check(cudaMallocHost(&staging_, kStaging), "not enough memory of the machine's own");
  }
  ~CudaDevice() override {
    cudaStreamSynchronize(stream_);
    cudaFreeHost(staging_);
    cudaStreamDestroy(stream_);
  }
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  std::string name() const override { return properties_.name; }
  int multiprocessors() const override { return properties_.multiProcessorCount; }
  int shared_bytes() const override { return static_cast<int>(properties_.sharedMemPerBlockOptin); }
  TensorCores tensor_cores() const override { return tensor_cores_; }

  void* allocate(size_t bytes) override {
    void* memory = nullptr;
    check(cudaMalloc(&memory, bytes > 0 ? bytes : 1), "not enough memory");
    check(cudaMemsetAsync(memory, 0, bytes, stream_), "cannot clear memory");
    return memory;
  }
  void release(void* memory) noexcept override {
    cudaStreamSynchronize(stream_);
    cudaFree(memory);
  }
  /// By way of pinned memory: from other memory CUDA may copy while the caller changes it.
  void upload(void* to, const void* from, size_t bytes) override {
    for (size_t at = 0; at < bytes;) {
      if (staged_ == kStaging) wait();
      const size_t part = std::min(bytes - at, kStaging - staged_);
      std::memcpy(staging_ + staged_, static_cast<const char*>(from) + at, part);
      check(cudaMemcpyAsync(static_cast<char*>(to) + at, staging_ + staged_, part, cudaMemcpyHostToDevice, stream_),
            "cannot copy to it");
      staged_ += part;
      at += part;
    }
  }
  void download(void* to, const void* from, size_t bytes) override {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "cannot copy from it");
    wait();
  }
  void wait() override {
    check(cudaStreamSynchronize(stream_), "the work failed");
    staged_ = 0;
  }

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

  struct Graph : Recording {
    cudaGraphExec_t graph = nullptr;
    ~Graph() override {
      if (graph != nullptr) cudaGraphExecDestroy(graph);
    }
  };

  std::unique_ptr<Recording> record(const std::function<void()>& launches) override {
    auto out = std::make_unique<Graph>();
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cannot record");
    try {
      launches();
    } catch (...) {
      cudaStreamEndCapture(stream_, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      cudaGetLastError();  // of the recording, which is told; else the next launch would be blamed
      throw;
    }
    check(cudaStreamEndCapture(stream_, &graph), "cannot record");
    const auto status = cudaGraphInstantiate(&out->graph, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cannot prepare what was recorded");
    return out;
  }
  void replay(Recording& recording) override {
    check(cudaGraphLaunch(static_cast<Graph&>(recording).graph, stream_), "cannot replay");
  }

  double seconds(const std::function<void()>& work) override {
    cudaEvent_t begin = nullptr, end = nullptr;
    check(cudaEventCreate(&begin), "no clock");
    check(cudaEventCreate(&end), "no clock");
    check(cudaEventRecord(begin, stream_), "no clock");
    work();
    check(cudaEventRecord(end, stream_), "no clock");
    check(cudaEventSynchronize(end), "the work failed");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end), "no clock");
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return 1e-3 * static_cast<double>(milliseconds);
  }

 private:
  template <class Kernel>
  void run(const typename Kernel::Args& args, Grid grid) {
    constexpr int shared = Kernel::template kSharedBytes<CudaBlock>;
    if constexpr (shared > 48 * 1024) {
      // Cheap, and not asked for a stream, so also while one is recorded.
      check(cudaFuncSetAttribute(entry<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared),
            "its blocks have too little shared memory");
    }
    entry<Kernel><<<dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y)), Kernel::kThreads,
                    static_cast<size_t>(shared), stream_>>>(args);
    check(cudaGetLastError(), "a kernel does not start");
  }

  cudaDeviceProp properties_;
  TensorCores tensor_cores_;
  cudaStream_t stream_ = nullptr;
  static constexpr size_t kStaging = size_t{32} << 20;
  char* staging_ = nullptr;  // pinned
  size_t staged_ = 0;        // of it, that copies may still be reading
};

bool has(const cudaDeviceProp& properties, TensorCores tensor_cores) {
#ifdef MELFLOW_FOR_HOPPER
  if (tensor_cores == TensorCores::warpgroups) return properties.major == 9 && properties.minor == 0;
#else  // compiled for no GPU that has them
  if (tensor_cores == TensorCores::warpgroups) return false;
#endif
  return properties.major >= 8;
}

}  // namespace

bool has_cuda() { return true; }

bool cuda_has(TensorCores tensor_cores) {
  int count = 0;
  cudaDeviceProp properties{};
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0 &&
         cudaGetDeviceProperties(&properties, 0) == cudaSuccess && has(properties, tensor_cores);
}

std::shared_ptr<Device> open_cuda_device(TensorCores tensor_cores) {
  int driver = 0, count = 0;
  cudaDriverGetVersion(&driver);  // 0: there is none, which the next call would call too old
  const auto status = driver > 0 ? cudaGetDeviceCount(&count) : cudaErrorNoDevice;
  if (status != cudaSuccess || count == 0) {
    throw Error(Exit::unavailable, std::string("no NVIDIA GPU: ") +
                                       (driver == 0             ? "no driver is installed"
                                        : status != cudaSuccess ? cudaGetErrorString(status)
                                                                : "none is visible") +
                                       "; use --device cpu");
  }
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0), "cannot ask for its properties");
  if (!has(properties, tensor_cores)) {
    const bool warps = tensor_cores == TensorCores::warps;
    throw Error(Exit::unavailable, std::string(properties.name) + " has no " + (warps ? "bfloat16" : "wgmma") +
                                       " (compute capability " + std::to_string(properties.major) + "." +
                                       std::to_string(properties.minor) + ", needed: " + (warps ? "8.0" : "9.0") +
                                       "); use --device cpu");
  }
  return std::make_shared<CudaDevice>(properties, tensor_cores);
}

}  // namespace melflow::gpu
