#pragma once

#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Generator.h>
#include <torch/types.h>

namespace melflow::engine {

/// A distribution in the plane whose density is known: what a flow learned can be told in nats from the best possible.
struct Toy {
  std::string name;
  double entropy;  ///< nats: the least mean negative log-likelihood that any model can have
  double reach;    ///< the picture's half side
  std::function<torch::Tensor(int64_t count, at::Generator&)> sample;  ///< [count, 2]
  std::function<torch::Tensor(const torch::Tensor& x)> log_prob;       ///< [count, 2] → [count], nats
};

/// banana (MAF, figure 1), eight_gaussians, checkerboard, rings, spirals (FFJORD's, with Gaussian noise), two_moons.
const std::vector<Toy>& toys();
const Toy* find_toy(const std::string& name);

/// An unnormalised density exp(-U(z)) in the plane (Rezende & Mohamed 2015, table 1): u1, u2, u3, u4, with
/// Σ max(|z_i| - 6, 0)² added to U, since u2 to u4 have no finite integral otherwise.
struct Energy {
  std::string name;
  double log_normaliser;                                        ///< ln ∫ exp(-U), by quadrature
  std::function<torch::Tensor(const torch::Tensor& z)> energy;  ///< [count, 2] → [count]
};
const std::vector<Energy>& energies();
const Energy* find_energy(const std::string& name);

/// A generator of its own, so that drawing data disturbs nothing else.
at::Generator generator(uint64_t seed);

}  // namespace melflow::engine
