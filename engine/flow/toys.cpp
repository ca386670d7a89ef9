#include "engine/flow/toys.h"

#include <cmath>
#include <numbers>

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include "models/flow/flow.h"

namespace melflow::engine {
namespace {

using torch::Tensor;
constexpr double kPi = std::numbers::pi;

Tensor uniform(int64_t n, at::Generator& g) { return torch::rand({n}, g, torch::TensorOptions()); }
Tensor normal(torch::IntArrayRef sizes, at::Generator& g) { return torch::randn(sizes, g, torch::TensorOptions()); }
Tensor choice(int64_t n, int64_t of, at::Generator& g) {
  return torch::randint(0, of, {n}, g, torch::TensorOptions().dtype(torch::kInt64));
}

/// ln N(x; each centre, sigma² I), mixed with the logarithms of the weights: [count].
Tensor mixture(const Tensor& x, const Tensor& centres, const Tensor& log_weights, double sigma) {
  std::vector<Tensor> parts;
  for (const auto& part : x.split(4096)) {
    const auto squared = torch::cdist(part, centres.to(part.scalar_type()), 2.0,
                                      /*compute_mode: exact*/ int64_t{2})
                             .square();
    parts.push_back(torch::logsumexp(squared * (-0.5 / (sigma * sigma)) + log_weights.to(part.scalar_type()), 1));
  }
  return torch::cat(parts) - std::log(2 * kPi * sigma * sigma);
}

/// Points of a curve at the midpoints of equal steps of t in [0, 1], for integrating along it.
Tensor midpoints(int64_t count) { return (torch::arange(count, torch::kFloat64) + 0.5) / static_cast<double>(count); }

// x2 ~ N(0, 4), x1 | x2 ~ N(x2²/4, 1).
Toy banana() {
  return {"banana", std::log(2 * kPi * std::numbers::e) + std::log(2.0), 8,
          [](int64_t n, at::Generator& g) {
            const auto z = normal({n, 2}, g);
            const auto x2 = z.select(1, 1) * 2;
            return torch::stack({x2.square() / 4 + z.select(1, 0), x2}, 1);
          },
          [](const Tensor& x) {
            const auto x1 = x.select(1, 0), x2 = x.select(1, 1);
            return (x1 - x2.square() / 4).square() * -0.5 - x2.square() / 8 - 2 * models::kHalfLog2Pi - std::log(2.0);
          }};
}

Tensor eight_centres() {
  const auto angle = torch::arange(8, torch::kFloat64) * (kPi / 4);
  return torch::stack({angle.cos(), angle.sin()}, 1) * (4 / 1.414);
}

Toy eight_gaussians() {
  constexpr double kSigma = 0.5 / 1.414;
  return {"eight_gaussians", 2.8319, 4,
          [](int64_t n, at::Generator& g) {
            const auto centre = eight_centres().to(torch::kFloat32).index_select(0, choice(n, 8, g));
            return centre + normal({n, 2}, g) * kSigma;
          },
          [](const Tensor& x) {
            return mixture(x, eight_centres(), torch::full({8}, -std::log(8.0), torch::kFloat64), kSigma);
          }};
}

// Eight of the sixteen squares of side 2 in [-4, 4]².
Toy checkerboard() {
  return {"checkerboard", std::log(32.0), 5,
          [](int64_t n, at::Generator& g) {
            const auto x = torch::rand({n, 2}, g, torch::TensorOptions()) * 2;
            const auto square = choice(n, 8, g);
            const auto column = square % 4, row = square.div(4, "floor") * 2 + column % 2;
            const auto corner = (torch::stack({column, row}, 1) * 2 - 4).to(torch::kFloat32);
            return torch::minimum(x + corner, (corner + 2).nextafter(corner));  // rounding may not leave the square
          },
          [](const Tensor& x) {
            const auto cell = ((x + 4) / 2).floor();
            const auto inside = ((cell >= 0).all(1)).logical_and((cell < 4).all(1));
            const auto even = (cell.sum(1).remainder(2) == 0).logical_and(inside);
            return torch::where(even, torch::full_like(x.select(1, 0), -std::log(32.0)),
                                torch::full_like(x.select(1, 0), -std::numeric_limits<double>::infinity()));
          }};
}

Tensor moon_points(const Tensor& t) {
  const auto upper = torch::stack({(t * kPi).cos(), (t * kPi).sin()}, 1);
  const auto lower = torch::stack({1 - (t * kPi).cos(), 0.5 - (t * kPi).sin()}, 1);
  return torch::stack({upper, lower});  // [2, count, 2]
}

Toy two_moons() {
  constexpr double kSigma = 0.1;
  constexpr int64_t kSteps = 256;
  return {"two_moons", 1.0076, 2.5,
          [](int64_t n, at::Generator& g) {
            const auto both = moon_points(uniform(n, g));
            const auto lower = choice(n, 2, g).to(torch::kBool).unsqueeze(1);
            return torch::where(lower, both[1], both[0]) + normal({n, 2}, g) * kSigma;
          },
          [](const Tensor& x) {
            const auto centres = moon_points(midpoints(kSteps)).reshape({-1, 2});
            const auto weight = torch::full({2 * kSteps}, -std::log(2.0 * kSteps), torch::kFloat64);
            return mixture(x, centres, weight, kSigma);
          }};
}

// Four circles of radius 0.75 k, each as likely as the others, with Gaussian noise.
Toy rings() {
  constexpr double kSigma = 0.1, kRadius = 0.75;
  return {"rings", 2.8454, 4,
          [](int64_t n, at::Generator& g) {
            const auto angle = uniform(n, g) * (2 * kPi);
            const auto radius = (choice(n, 4, g) + 1) * kRadius;
            return torch::stack({angle.cos() * radius, angle.sin() * radius}, 1) + normal({n, 2}, g) * kSigma;
          },
          [](const Tensor& x) {
            // ∫ over the circle in closed form: I0(rR/σ²), scaled so that nothing overflows.
            const auto r = x.square().sum(1).sqrt();
            std::vector<Tensor> each;
            for (int k = 1; k <= 4; ++k) {
              const double radius = kRadius * k, variance = kSigma * kSigma;
              each.push_back((r - radius).square() * (-0.5 / variance) +
                             torch::special_i0e(r * (radius / variance)).log() - std::log(4 * 2 * kPi * variance));
            }
            return torch::logsumexp(torch::stack(each), 0);
          }};
}

Tensor spiral_points(const Tensor& t) {
  const auto turn = t.sqrt() * (3 * kPi);
  return torch::stack({-turn.cos() * turn, turn.sin() * turn}, 1) / 3;
}

// Two arms of one and a half turns.
Toy spirals() {
  constexpr double kSigma = 0.15;
  constexpr int64_t kSteps = 1024;
  return {"spirals", 2.9455, 4,
          [](int64_t n, at::Generator& g) {
            const auto arm = (choice(n, 2, g) * 2 - 1).unsqueeze(1);
            return spiral_points(uniform(n, g)) * arm + normal({n, 2}, g) * kSigma;
          },
          [](const Tensor& x) {
            const auto arm = spiral_points(midpoints(kSteps));
            const auto weight = torch::full({2 * kSteps}, -std::log(2.0 * kSteps), torch::kFloat64);
            return mixture(x, torch::cat({arm, -arm}), weight, kSigma);
          }};
}

/// Half a squared distance in units of `width`.
Tensor valley(const Tensor& distance, double width) { return (distance / width).square() * 0.5; }

Tensor penalty(const Tensor& z) { return (z.abs() - 6).relu().square().sum(1); }

std::vector<Energy> make_energies() {
  const auto w1 = [](const Tensor& z) { return (z.select(1, 0) * (kPi / 2)).sin(); };
  const auto bump = [](const Tensor& z1) { return 3 * (-valley(z1 - 1, 0.6)).exp(); };
  const auto step = [](const Tensor& z1) { return 3 * torch::sigmoid((z1 - 1) / 0.3); };
  return {{"u1", 1.8775,
           [](const Tensor& z) {
             const auto z1 = z.select(1, 0), r = (z.square().sum(1) + 1e-24).sqrt();
             return valley(r - 2, 0.4) - torch::logaddexp(-valley(z1 - 2, 0.6), -valley(z1 + 2, 0.6)) + penalty(z);
           }},
          {"u2", 2.6253, [w1](const Tensor& z) { return valley(z.select(1, 1) - w1(z), 0.4) + penalty(z); }},
          {"u3", 3.1849,
           [w1, bump](const Tensor& z) {
             const auto d = z.select(1, 1) - w1(z);
             return penalty(z) - torch::logaddexp(-valley(d, 0.35), -valley(d + bump(z.select(1, 0)), 0.35));
           }},
          {"u4", 3.2539, [w1, step](const Tensor& z) {
             const auto d = z.select(1, 1) - w1(z);
             return penalty(z) - torch::logaddexp(-valley(d, 0.4), -valley(d + step(z.select(1, 0)), 0.35));
           }}};
}

template <typename Item>
const Item* find(const std::vector<Item>& all, const std::string& name) {
  for (const auto& item : all) {
    if (item.name == name) return &item;
  }
  return nullptr;
}

}  // namespace

const std::vector<Toy>& toys() {
  static const std::vector<Toy> all{banana(), eight_gaussians(), checkerboard(), two_moons(), rings(), spirals()};
  return all;
}

const std::vector<Energy>& energies() {
  static const std::vector<Energy> all = make_energies();
  return all;
}

const Toy* find_toy(const std::string& name) { return find(toys(), name); }
const Energy* find_energy(const std::string& name) { return find(energies(), name); }

at::Generator generator(uint64_t seed) { return at::make_generator<at::CPUGeneratorImpl>(seed); }

}  // namespace melflow::engine
