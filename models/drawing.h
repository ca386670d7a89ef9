#pragma once

#include <torch/types.h>

namespace melflow::models {

/// While one lives, models that are built on this thread get weights that are not drawn, only allocated: others will be
/// loaded into them, and drawing takes longer than loading (88 million numbers in the paper's WaveGlow).
class WithoutDrawing {
 public:
  WithoutDrawing() { ++depth(); }
  ~WithoutDrawing() { --depth(); }
  WithoutDrawing(const WithoutDrawing&) = delete;
  WithoutDrawing& operator=(const WithoutDrawing&) = delete;

  static bool active() { return depth() > 0; }

 private:
  static int& depth() {
    static thread_local int count = 0;
    return count;
  }
};

/// A first weight: uniform within ±bound.
inline torch::Tensor drawn_uniform(at::IntArrayRef shape, double bound) {
  const auto weight = torch::empty(shape);
  return WithoutDrawing::active() ? weight : weight.uniform_(-bound, bound);
}

}  // namespace melflow::models
