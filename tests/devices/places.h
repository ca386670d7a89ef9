#pragma once

#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <ostream>
#include <string>

#include <torch/torch.h>

#include "base/error.h"
#include "engine/device.h"
#include "tests/devices/played_device.h"

namespace melflow::testing {

/// Where a test's model computes: on a device that is played, or on a GPU, where there is one.
enum class Place { played, cuda };
inline std::string name_of(Place place) { return place == Place::played ? "Played" : "CUDA"; }
inline std::ostream& operator<<(std::ostream& out, Place place) { return out << name_of(place); }
inline constexpr Place kPlaces[] = {Place::played, Place::cuda};

/// Nothing where there is no GPU: `why` says why.
inline std::optional<torch::Device> open(Place place, std::string& why, int local_rank = 0) {
  if (place == Place::played) return played_device();
  try {
    return engine::open_device("cuda", local_rank);
  } catch (const Error& error) {
    if (error.code() != Exit::unavailable) throw;  // there is one, and it is not well
    why = error.what();
    return std::nullopt;
  }
}

/// Largest difference, over 1 + the size of what is expected; both from any device.
inline double difference(const torch::Tensor& actual, const torch::Tensor& expected) {
  const auto a = actual.detach().to(torch::kCPU, torch::kFloat64),
             e = expected.detach().to(torch::kCPU, torch::kFloat64);
  if (a.sizes() != e.sizes()) return std::numeric_limits<double>::infinity();
  return ((a - e).abs() / (1 + e.abs())).max().item<double>();
}

}  // namespace melflow::testing

/// Seeds LibTorch too: a device has to be known by then.
#define OPEN_OR_SKIP(device, place, ...)                                                   \
  std::string why_not;                                                                     \
  const auto opened = ::melflow::testing::open(place, why_not __VA_OPT__(, ) __VA_ARGS__); \
  if (!opened) GTEST_SKIP() << why_not;                                                    \
  const auto device = *opened;                                                             \
  torch::set_num_threads(1);                                                               \
  torch::manual_seed(11)
