#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/files/safetensors.h"

namespace melflow::engine {

/// A tensor in C order, in double: what weights are before they are packed.
struct Dense {
  std::vector<int64_t> sizes;
  std::vector<double> values;

  int64_t size(size_t axis) const { return axis < sizes.size() ? sizes[axis] : 1; }
  int64_t count() const { return static_cast<int64_t>(values.size()); }
  /// [first, first + n) of the first axis.
  Dense rows(int64_t first, int64_t n) const;
  std::vector<float> floats() const { return {values.begin(), values.end()}; }
};

/// [m, k] · [k, n]; further axes of length 1 are passed over.
Dense product(const Dense& a, const Dense& b);

/// Element by element.
Dense sum(Dense a, const Dense& b);

/// Of a square matrix; small_matrix.h.
Dense inverse(const Dense& matrix, const std::string& what);

/// A model's tensors by their names, through float32, which is what a model computes with.
class Parameters {
 public:
  /// `tensors` must be those that the model's options ask for (model_options.h), and outlive this.
  explicit Parameters(const std::map<std::string, files::TensorView>& tensors) : tensors_(tensors) {}

  std::vector<float> floats(const std::string& name) const;
  Dense at(const std::string& name) const;
  /// g·v/‖v‖ [out, in, kernel], of a weight-normed convolution.
  Dense normed(const std::string& name) const;
  /// What "NAME.weight" is, weight-normed or not.
  Dense folded(const std::string& name) const;

 private:
  const std::map<std::string, files::TensorView>& tensors_;
};

}  // namespace melflow::engine
