#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace melflow::gpu {

struct EnterArgs;
struct ContextArgs;
struct CoupleArgs;
struct GateArgs;
struct OutputArgs;
enum class TileShape;

/// By what instructions a device's tensor cores multiply: mma of one warp (compute capability 8.0 and on), or wgmma of
/// four (9.0 alone, where mma reaches about 0.6 of their peak).
enum class TensorCores { warps, warpgroups };

/// Where kernels run: a GPU, or in tests a CPU that plays one. All work is done in the order of the calls, often after
/// they have returned: download() and wait() wait for it. For one thread at a time. Any method but name() to
/// tensor_cores() and release() may throw Error{internal} with what the GPU says; of work that failed the first call
/// that waits says it.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;
  virtual int multiprocessors() const = 0;
  virtual int shared_bytes() const = 0;          ///< shared memory that a block may have
  virtual TensorCores tensor_cores() const = 0;  ///< what products are done by
  /// Memory that is zero at first, at a multiple of 256 bytes. Throws Error{unavailable} where there is too little.
  virtual void* allocate(size_t bytes) = 0;
  /// Waits first for all that was asked for before: it may use the memory.
  virtual void release(void* memory) noexcept = 0;
  /// From the program's memory, which may be changed once this has returned, to the device's, in its order with
  /// launches.
  virtual void upload(void* to, const void* from, size_t bytes) = 0;
  /// From the device's memory to the program's. Waits for all that was asked for before, and for itself.
  virtual void download(void* to, const void* from, size_t bytes) = 0;
  virtual void wait() = 0;

  /// Asks for a kernel; reads `args` before it returns, and what they point to, in the device's memory, when its turn
  /// comes. A tile that the device's shared memory does not hold becomes the next narrower one.
  virtual void launch(const EnterArgs& args) = 0;
  virtual void launch(const CoupleArgs& args) = 0;
  virtual void launch(const ContextArgs& args, TileShape shape) = 0;
  virtual void launch(const GateArgs& args, TileShape shape) = 0;
  virtual void launch(const OutputArgs& args, TileShape shape) = 0;

  /// Launches that are kept and not run: one unit that replay() runs, with the same arguments. What they point to must
  /// be there at every replay; a Recording must not outlive its device.
  class Recording {
   public:
    virtual ~Recording() = default;
  };
  /// Calls `launches`, which may call launch() and nothing else of the device. What it throws ends the recording, and
  /// is thrown on.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& launches) = 0;
  /// Asks for the launches of a recording of this device, in their order with everything else.
  virtual void replay(Recording& recording) = 0;

  /// Seconds that the device takes for `work`, by its own clock.
  virtual double seconds(const std::function<void()>& work) = 0;
};

/// Whether the kernels were compiled for GPUs.
bool has_cuda();

/// The first NVIDIA GPU. Throws Error{unavailable} that says what is missing: a program built with CUDA, a driver, a
/// GPU of compute capability 8.0 or more, or of 9.0 for warpgroups.
std::shared_ptr<Device> open_cuda_device(TensorCores tensor_cores);

/// Whether the first GPU, if there is one, has them, and the kernels were compiled for it.
bool cuda_has(TensorCores tensor_cores);

inline const char* name_of(TensorCores tensor_cores) { return tensor_cores == TensorCores::warps ? "mma" : "wgmma"; }

/// Numbers in a device's memory.
template <typename T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(std::shared_ptr<Device> device, size_t count)
      : device_(std::move(device)), data_(static_cast<T*>(device_->allocate(count * sizeof(T)))), count_(count) {}
  Buffer(std::shared_ptr<Device> device, std::span<const T> values) : Buffer(std::move(device), values.size()) {
    device_->upload(data_, values.data(), values.size_bytes());
  }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) device_->release(data_);
  }
  T* data() const { return data_; }
  size_t size() const { return count_; }
  size_t bytes() const { return count_ * sizeof(T); }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
  }
  std::shared_ptr<Device> device_;
  T* data_ = nullptr;
  size_t count_ = 0;
};

}  // namespace melflow::gpu
