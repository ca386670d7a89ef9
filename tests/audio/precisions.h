#pragma once

#include <gtest/gtest.h>

#include <string>

namespace melflow::testing {

/// Of typed tests that hold in either precision.
using Precisions = ::testing::Types<double, float>;
struct PrecisionName {
  template <typename Real>
  static std::string GetName(int) {
    return sizeof(Real) == sizeof(double) ? "InDouble" : "InSingle";
  }
};

}  // namespace melflow::testing
