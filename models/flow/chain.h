#pragma once

#include <memory>
#include <vector>

#include "models/flow/bijection.h"

namespace melflow::models {

/// Bijections one after another, in list order from data to noise; their log-determinants add up.
class Chain : public Bijection {
 public:
  explicit Chain(std::vector<std::shared_ptr<Bijection>> parts);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;

 private:
  std::vector<std::shared_ptr<Bijection>> parts_;
};

/// The same map with its directions exchanged (IAF = Inverse(MAF)).
class Inverse : public Bijection {
 public:
  explicit Inverse(std::shared_ptr<Bijection> part);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;

 private:
  std::shared_ptr<Bijection> part_;
};

}  // namespace melflow::models
