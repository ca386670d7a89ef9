#include "tests/devices/played_sums.h"

#include <torch/library.h>
#include <torch/torch.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "tests/devices/played_device.h"

namespace melflow::testing {
namespace {

using Tensors = std::vector<at::Tensor>;
using Group = c10::intrusive_ptr<c10d::ProcessGroup>;
using Done = std::tuple<Tensors, c10::intrusive_ptr<c10d::Work>>;

constexpr auto kType = c10::DeviceType::HPU;

/// Done before it is returned.
struct DoneWork : c10d::Work {
  explicit DoneWork(const Tensors& results)
      : future(c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()),
                                                        std::vector<c10::Device>{played_device()})) {
    future->markCompleted(c10::IValue(results));
  }
  bool isCompleted() override { return true; }
  bool isSuccess() const override { return true; }
  bool wait(std::chrono::milliseconds) override { return true; }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future; }
  c10::intrusive_ptr<c10::ivalue::Future> future;
};

struct PlayedBackend : c10d::Backend {
  PlayedBackend(const c10::intrusive_ptr<c10d::Store>& store, const engine::ProcessPlace& place)
      : c10d::Backend(place.rank, place.size) {
    auto options = c10d::ProcessGroupGloo::Options::create();
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
    auto own = c10::make_intrusive<c10d::PrefixStore>("played", store);
    gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(own, place.rank, place.size, options);
  }
  const std::string getBackendName() const override { return "played"; }

  template <typename Call>
  c10::intrusive_ptr<c10d::Work> on_the_cpu(Tensors& tensors, Call&& call) {
    Tensors copies;
    for (const auto& x : tensors) {
      TORCH_CHECK(x.device().type() == kType, "the device's sums, of a tensor on ", x.device());
      copies.push_back(x.cpu());
    }
    call(copies)->wait();
    for (size_t i = 0; i < tensors.size(); ++i) tensors[i].copy_(copies[i]);
    return c10::make_intrusive<DoneWork>(tensors);
  }
  c10::intrusive_ptr<c10d::Work> allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override {
    return on_the_cpu(tensors, [&](Tensors& copies) { return gloo->allreduce(copies, options); });
  }
  c10::intrusive_ptr<c10d::Work> broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override {
    return on_the_cpu(tensors, [&](Tensors& copies) { return gloo->broadcast(copies, options); });
  }
  void shutdown() override {}

  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo;
};

// As LibTorch has them for its own devices.
Done allreduce(at::TensorList tensors, const Group& group, const c10::intrusive_ptr<c10d::ReduceOp>& how,
               const std::optional<at::Tensor>&, bool, int64_t) {
  auto all = tensors.vec();
  auto work = group->getBackend(kType)->allreduce(all, {.reduceOp = *how});
  return {std::move(all), std::move(work)};
}
Done broadcast(at::TensorList tensors, const Group& group, int64_t root, int64_t root_tensor, bool, int64_t) {
  auto all = tensors.vec();
  auto work = group->getBackend(kType)->broadcast(all, {.rootRank = root, .rootTensor = root_tensor});
  return {std::move(all), std::move(work)};
}

}  // namespace

engine::DeviceSums played_sums() {
  static torch::Library* const calls = [] {
    auto* library = new torch::Library(torch::Library::IMPL, "c10d", c10::DispatchKey::HPU, __FILE__, __LINE__);
    library->impl("allreduce_", &allreduce);
    library->impl("broadcast_", &broadcast);
    return library;
  }();
  static_cast<void>(calls);
  return {kType, [](const auto& store, const auto& place, const auto&) {
            return c10::make_intrusive<PlayedBackend>(store, place);
          }};
}

}  // namespace melflow::testing
