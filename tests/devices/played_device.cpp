#include "tests/devices/played_device.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/HPUHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>
#include <torch/torch.h>

#include <set>

namespace melflow::testing {
namespace {

// Of LibTorch's devices one that its modules can move to and for which it has no kernels of its own.
constexpr auto kType = c10::DeviceType::HPU;
constexpr auto kKey = c10::DispatchKey::HPU;

/// The device's memory lies in the CPU's, with all bits of every byte the other way round.
struct Memory : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes > 0 ? ::operator new(bytes) : nullptr;
    return {data, data, &release, c10::Device(kType, 0)};
  }
  static void release(void* data) { ::operator delete(data); }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};
Memory memory;

void turn(void* data, size_t bytes) {
  auto* bits = static_cast<unsigned char*>(data);
  for (size_t i = 0; i < bytes; ++i) bits[i] = static_cast<unsigned char>(~bits[i]);
}

at::Tensor empty(c10::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, c10::DispatchKeySet(kKey), c10::dtype_or_default(dtype), format);
}
at::Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory, c10::DispatchKeySet(kKey),
                                           c10::dtype_or_default(dtype));
}

/// The same view of a copy of all of its storage, on the CPU.
at::Tensor mirrored(const at::Tensor& x) {
  const auto bytes = static_cast<int64_t>(x.storage().nbytes());
  auto storage = at::empty({bytes}, at::kByte);
  if (bytes > 0) {
    std::memcpy(storage.data_ptr(), x.storage().data(), static_cast<size_t>(bytes));
    turn(storage.data_ptr(), static_cast<size_t>(bytes));
  }
  auto out =
      at::empty({0}, x.options().device(at::kCPU)).set_(storage.storage(), x.storage_offset(), x.sizes(), x.strides());
  out._set_conj(x.is_conj());
  out._set_neg(x.is_neg());
  return out;
}

at::Tensor& copy(at::Tensor& self, const at::Tensor& from, bool) {
  const auto source = from.device().type() == kType ? mirrored(from) : from;
  if (self.device().type() != kType) {
    self.copy_(source);
    return self;
  }
  auto mirror = mirrored(self);
  mirror.copy_(source);
  const auto bytes = self.storage().nbytes();
  if (bytes == 0) return self;
  std::memcpy(self.storage().mutable_data(), mirror.storage().data(), bytes);
  turn(self.storage().mutable_data(), bytes);
  return self;
}
at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  at::Tensor out = to;
  copy(out, from, false);
  return out;
}
at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  at::Tensor out = to;
  if (out.sizes() != from.sizes()) out.resize_(from.sizes());
  copy(out, from, false);
  return out;
}
const at::Tensor& resize(const at::Tensor& self, c10::IntArrayRef size, std::optional<at::MemoryFormat>) {
  auto* tensor = self.unsafeGetTensorImpl();
  const auto count = c10::multiply_integers(size);
  const auto bytes = static_cast<size_t>(count + tensor->storage_offset()) * self.itemsize();
  if (bytes > self.storage().nbytes()) {
    self.storage().set_data_ptr(memory.allocate(bytes));
    self.storage().set_nbytes(bytes);
  }
  tensor->set_sizes_contiguous(size);
  return self;
}
at::Scalar item(const at::Tensor& self) { return mirrored(self).item(); }

/// What CUDA asks for: no tensor of the CPU beside one of the device's, but for numbers.
void require_here(const at::Tensor& x, const std::string& asked_by) {
  TORCH_CHECK(!x.defined() || x.dim() == 0 || x.device().type() == kType, asked_by,
              " of the device's and of the CPU's");
}

/// cuFFT knows no bfloat16, and half precision only where it is asked for.
void require_transformable(const at::Tensor& x, const std::string& asked_by) {
  TORCH_CHECK(!asked_by.starts_with("aten::_fft") || x.scalar_type() != at::kBFloat16, asked_by, " of bfloat16");
}

/// Computed on the CPU, from the device and back to it. Indices may come from the CPU.
void on_the_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  static const std::set<std::string> kTakeBoth{"aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_"};
  const auto& name = op.schema().name();
  const size_t count = op.schema().arguments().size();
  if (!kTakeBoth.contains(name) && !kTakeBoth.contains(name + "." + op.schema().overload_name())) {
    for (size_t i = stack->size() - count; i < stack->size(); ++i) {
      const auto& value = (*stack)[i];
      if (value.isTensor()) {
        require_here(value.toTensor(), name);
        require_transformable(value.toTensor(), name);
      }
      if (value.isTensorList()) {
        for (const auto& x : value.toTensorVector()) require_here(x, name);
      }
    }
  }
  at::native::cpu_fallback(op, stack, /*error_on_views=*/true);
}

// A backend's own convolution, which is asked for by another name.
at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       c10::SymIntArrayRef stride, c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
                       bool transposed, c10::SymIntArrayRef output_padding, c10::SymInt groups) {
  require_here(input, "convolution");
  require_here(weight, "convolution");
  std::optional<at::Tensor> added;
  if (bias && bias->defined()) {
    require_here(*bias, "convolution");
    added = bias->cpu();
  }
  return at::convolution_symint(input.cpu(), weight.cpu(), added, stride, padding, dilation, transposed, output_padding,
                                std::move(groups))
      .to(input.device());
}
std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(
    const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& weight, c10::SymIntArrayRef stride,
    c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation, bool transposed, c10::SymIntArrayRef output_padding,
    c10::SymInt groups, std::array<bool, 3> wanted) {
  const c10::SymInt channels = gradient.sym_size(1);
  auto [to_input, to_weight, to_bias] =
      at::convolution_backward_symint(gradient.cpu(), input.cpu(), weight.cpu(), c10::SymIntArrayRef(channels), stride,
                                      padding, dilation, transposed, output_padding, std::move(groups), wanted);
  const auto back = [&](const at::Tensor& x) { return x.defined() ? x.to(input.device()) : x; };
  return {back(to_input), back(to_weight), back(to_bias)};
}

/// All is done when it is asked for, so there is nothing to order or wait for.
struct Guard : c10::impl::NoOpDeviceGuardImpl<kType> {
  c10::Device exchangeDevice(c10::Device device) const override { return device; }
  c10::Device getDevice() const override { return {kType, 0}; }
  c10::Stream getStream(c10::Device device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override {}
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
};

/// What autograd asks of a device.
struct Hooks : at::HPUHooksInterface {
  explicit Hooks(at::HPUHooksArgs) {}
  void init() const override {}
  bool hasHPU() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    static const auto generator = at::detail::createCPUGenerator();
    return generator;
  }
};

/// Autocast by CUDA's lists, which differ from the CPU's: no transform is among them.
void cast_as_cuda_does(torch::Library& m) {
#define MELFLOW_LOWER(...) KERNEL(kType, __VA_ARGS__, lower_precision_fp)
#define MELFLOW_FULL(...) KERNEL(kType, __VA_ARGS__, fp32)
#define MELFLOW_WIDEST(...) KERNEL(kType, __VA_ARGS__, promote)
  AT_FORALL_LOWER_PRECISION_FP(MELFLOW_LOWER)
  AT_FORALL_FP32(MELFLOW_FULL)
  AT_FORALL_PROMOTE(MELFLOW_WIDEST)
#undef MELFLOW_LOWER
#undef MELFLOW_FULL
#undef MELFLOW_WIDEST
}

/// LibTorch knows the device from here on, to the end of the process.
struct Registered {
  Registered() {
    at::HPUHooksRegistry()->Register("HPUHooks", [](at::HPUHooksArgs args) { return std::make_unique<Hooks>(args); });
    aten.impl("empty.memory_format", &empty);
    aten.impl("empty_strided", &empty_strided);
    aten.impl("copy_", &copy);
    aten.impl("_copy_from", &copy_from);
    aten.impl("_copy_from_and_resize", &copy_from_and_resize);
    aten.impl("resize_", &resize);
    aten.impl("_local_scalar_dense", &item);
    aten.impl("view", &at::native::view);
    aten.impl("as_strided", &at::native::as_strided_tensorimpl);
    aten.impl("unfold", &at::native::unfold);
    aten.impl("_reshape_alias", &at::native::_reshape_alias);
    aten.impl("view_as_real", &at::native::view_as_real);
    aten.impl("view_as_complex", &at::native::view_as_complex);
    aten.impl("convolution_overrideable", &convolution);
    aten.impl("convolution_backward_overrideable", &convolution_backward);
    cast_as_cuda_does(autocast);
    autocast_all.fallback(torch::CppFunction::makeFallthrough());
    all.fallback(torch::CppFunction::makeFromBoxedFunction<&on_the_cpu>());
  }
  c10::impl::DeviceGuardImplRegistrar guard{kType, new Guard};
  torch::Library aten{torch::Library::IMPL, "aten", kKey, __FILE__, __LINE__};
  torch::Library autocast{torch::Library::IMPL, "aten", c10::DispatchKey::AutocastHPU, __FILE__, __LINE__};
  torch::Library autocast_all{torch::Library::IMPL, "_", c10::DispatchKey::AutocastHPU, __FILE__, __LINE__};
  torch::Library all{torch::Library::IMPL, "_", kKey, __FILE__, __LINE__};
};

}  // namespace

torch::Device played_device() {
  static const auto* const registered = new Registered;
  static_cast<void>(registered);
  return {kType, 0};
}

}  // namespace melflow::testing
