#include "engine/train/processes.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <c10/core/Event.h>
#include <torch/torch.h>

#include "base/error.h"

#ifdef USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#endif

namespace melflow::engine {
#ifdef USE_C10D_GLOO

namespace {

bool is_loopback(const std::string& address) {
  return address == "localhost" || address == "::1" || address.rfind("127.", 0) == 0;
}

/// The IPv4 address of a network interface.
std::string address_of(const std::string& interface) {
  ifaddrs* all = nullptr;
  std::string found;
  if (::getifaddrs(&all) != 0) return found;
  for (const ifaddrs* entry = all; entry != nullptr; entry = entry->ifa_next) {
    if (interface != entry->ifa_name || entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
    char text[INET_ADDRSTRLEN] = {};
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr, text, sizeof text);
    found = text;
    break;
  }
  ::freeifaddrs(all);
  if (found.empty()) throw Error(Exit::usage, "--network " + interface + ": no such interface with an IPv4 address");
  return found;
}

/// A listening socket of our own: c10d's would take calls from anywhere.
int listen_at(const std::string& address, uint16_t port) {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  ::inet_pton(AF_INET, address.c_str(), &at.sin_addr);
  const bool bound = descriptor >= 0 && ::bind(descriptor, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 &&
                     ::listen(descriptor, SOMAXCONN) == 0;
  if (!bound) {
    const std::string why = std::strerror(errno);
    if (descriptor >= 0) ::close(descriptor);
    throw Error(Exit::io_error, address + ":" + std::to_string(port) + ": cannot listen there (" + why +
                                    "); choose another MASTER_PORT");
  }
  return descriptor;
}

}  // namespace

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::minutes kArrival{5};  ///< how long one waits for the others to come
constexpr std::chrono::minutes kDevice{2};   ///< and for a device, once all have told theirs what to do

}  // namespace

struct Processes::Impl {
  ProcessPlace place;
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::Backend> on_device;  // none where everything lies on the CPU
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  std::unique_ptr<c10d::Reducer> reducer;

  /// Calls c10d; what it throws is that somebody cannot be reached any more, or never was.
  template <typename Call>
  auto reached(Call&& call) -> decltype(call()) {
    try {
      return call();
    } catch (const Error&) {
      throw;
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& e) {
      const std::string what = e.what();
      for (const char* memory : {"out of memory", "can't allocate memory"}) {  // our own, not another's
        if (what.find(memory) != std::string::npos) throw;
      }
      abort();
      // Of LibTorch, but not of c10d: a fault of the device or of the model, which going on would meet again.
      if (dynamic_cast<const c10::Error*>(&e) != nullptr && dynamic_cast<const c10::DistError*>(&e) == nullptr) throw;
      throw Error(Exit::io_error, "process " + std::to_string(place.rank) + " of " + std::to_string(place.size) +
                                      ": another process of this training has gone or cannot be reached (" +
                                      what.substr(0, what.find('\n')).substr(0, 160) +
                                      "); start them again with --resume");
    }
  }

  /// Ends sums on the device that would wait for ever for one who has gone.
  void abort() noexcept {
    try {
      if (on_device) on_device->abort();
    } catch (const std::exception&) {  // there is a first error to tell
    }
  }

  /// Waits for what the device has been told. c10d's own wait for it has no end where another process has gone: so all
  /// meet first, which tells of those, and then the device has little time.
  void finish(torch::Device device) {
    reduced(torch::zeros({1}), c10d::ReduceOp::SUM);
    c10::Event done(device.type());
    done.record(c10::impl::getDeviceGuardImpl(device.type())->getStream(device));
    const auto late = Clock::now() + kDevice;
    while (!done.query()) {
      if (Clock::now() > late)
        throw std::runtime_error("the sums of a step take more than " + std::to_string(kDevice.count()) + " minutes");
      ::usleep(100);
    }
  }

  torch::Tensor reduced(torch::Tensor value, c10d::ReduceOp::RedOpType how) {
    std::vector<torch::Tensor> tensors{std::move(value)};
    reached([&] {
      c10d::AllreduceOptions options;
      options.reduceOp = how;
      group->allreduce(tensors, options)->wait();
    });
    return tensors[0];
  }
};

Processes::Processes(const ProcessPlace& place, const std::string& interface, const DeviceSums& sums)
    : impl_(std::make_unique<Impl>()) {
  impl_->place = place;
  if (interface.empty() && !is_loopback(place.address)) {
    throw Error(Exit::usage, "MASTER_ADDR is " + place.address +
                                 ", on a network: say --network INTERFACE, of a network where nobody is who should "
                                 "not be; what is sent is neither secret nor checked");
  }
  const std::string here = interface.empty() ? "127.0.0.1" : address_of(interface);
  if (is_loopback(place.address) && !is_loopback(here)) {
    throw Error(Exit::usage, "--network " + interface + ": MASTER_ADDR is " + place.address +
                                 ", where the others would look for rank 0; it must be rank 0's address there");
  }
  impl_->reached([&] {
    c10d::TCPStoreOptions options;
    options.port = place.port;
    options.isServer = place.rank == 0 && !place.store_is_there;
    options.waitWorkers = false;
    if (options.isServer) options.masterListenFd = listen_at(here, place.port);
    auto store = c10::make_intrusive<c10d::TCPStore>(interface.empty() ? here : place.address, options);
    impl_->store = c10::make_intrusive<c10d::PrefixStore>("melflow/" + launchers_round(), store);
    auto gloo_options = c10d::ProcessGroupGloo::Options::create();
    gloo_options->timeout = kArrival;
    gloo_options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(here));
    auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(impl_->store, place.rank, place.size, gloo_options);
    gloo->setTimeout(kPatience);
    impl_->group = c10::make_intrusive<c10d::ProcessGroup>(impl_->store, place.rank, place.size);
    impl_->group->setBackend(c10::DeviceType::CPU, c10d::ProcessGroup::BackendType::GLOO, gloo);
    impl_->group->setDefaultBackend(c10d::ProcessGroup::BackendType::GLOO);
    if (sums.device == torch::kCPU) return;
    impl_->on_device = sums.open(impl_->store, place, interface);
    impl_->group->setBackend(sums.device, c10d::ProcessGroup::BackendType::NCCL, impl_->on_device);
  });
}

Processes::~Processes() = default;

int Processes::rank() const { return impl_->place.rank; }
int Processes::size() const { return impl_->place.size; }

void Processes::share_gradients(const std::vector<torch::Tensor>& parameters) {
  // Gradients come last layer first: so do the buckets. After the first step the Reducer makes them anew, in the order
  // in which gradients came.
  impl_->reached([&] {
    const std::vector<bool> dense(parameters.size(), false);
    auto buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(
        parameters, {c10d::kDefaultFirstBucketBytes, c10d::kDefaultBucketBytesCap}, dense));
    std::reverse(buckets.begin(), buckets.end());
    impl_->reducer = std::make_unique<c10d::Reducer>(
        parameters, buckets, impl_->group, dense, c10d::kDefaultBucketBytesCap, /*find_unused_parameters=*/false,
        /*gradient_as_bucket_view=*/false, std::unordered_map<size_t, std::string>{}, c10d::kDefaultFirstBucketBytes,
        /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false, std::vector<int64_t>{});
  });
}

void Processes::backward(const torch::Tensor& loss) {
  // On a device the new buckets are agreed on there, where who has gone is missed for long: Gloo knows at once.
  if (impl_->on_device && impl_->reducer->should_rebuild_buckets()) any(false);
  impl_->reached([&] {
    impl_->reducer->rebuild_buckets();
    impl_->reducer->prepare_for_backward({});
    loss.backward();
    if (impl_->on_device) impl_->finish(loss.device());
  });
}

double Processes::mean(double value) {
  const auto sum = impl_->reduced(torch::tensor({value}, torch::kFloat64), c10d::ReduceOp::SUM);
  return sum.item<double>() / size();
}

double Processes::from_first(double value) {
  return impl_->reduced(torch::tensor({rank() == 0 ? value : 0.0}, torch::kFloat64), c10d::ReduceOp::SUM)
      .item<double>();
}

bool Processes::any(bool value) {
  return impl_->reduced(torch::tensor({value ? 1 : 0}, torch::kInt32), c10d::ReduceOp::MAX).item<int>() != 0;
}

void Processes::require_same(int64_t value, const std::string& otherwise) {
  const auto most = impl_->reduced(torch::tensor({value, -value}, torch::kInt64), c10d::ReduceOp::MAX);
  if (most[0].item<int64_t>() != -most[1].item<int64_t>()) throw Error(Exit::bad_data, otherwise);
}

void Processes::leave() {
  any(false);
  // Whoever listens leaves last.
  const auto left = impl_->place.size - 1;
  impl_->reached([&] {
    if (impl_->place.rank > 0) {
      impl_->store->add("left", 1);
    } else if (!impl_->place.store_is_there) {
      const auto late = Clock::now() + std::chrono::seconds(30);
      while (impl_->store->add("left", 0) < left && Clock::now() < late) ::usleep(2000);
    }
    if (impl_->on_device) impl_->on_device->shutdown();
  });
}

#else

struct Processes::Impl {};
Processes::Processes(const ProcessPlace&, const std::string&, const DeviceSums&) {
  throw Error(Exit::unavailable,
              "this melflow was built without Gloo's headers: install libgloo-dev, then tools/build release");
}
Processes::~Processes() = default;
int Processes::rank() const { return 0; }
int Processes::size() const { return 1; }
void Processes::share_gradients(const std::vector<torch::Tensor>&) {}
void Processes::backward(const torch::Tensor& loss) { loss.backward(); }
double Processes::mean(double value) { return value; }
double Processes::from_first(double value) { return value; }
bool Processes::any(bool value) { return value; }
void Processes::require_same(int64_t, const std::string&) {}
void Processes::leave() {}

#endif

}  // namespace melflow::engine
