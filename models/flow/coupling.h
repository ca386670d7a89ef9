#pragma once

#include <memory>
#include <span>

#include "models/flow/bijection.h"

namespace melflow::models {

/// A network inside a bijection: it need not be invertible itself.
class Conditioner : public torch::nn::Module {
 public:
  /// x: [batch, in, …], context as the bijection got it → [batch, out, …].
  virtual torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& context) = 0;
};

/// What a network hears of x: nothing beyond ±limit (0: all). A network of ReLUs goes on along straight lines where no
/// training row was, and one such number costs its row thousands of nats. The flow stays exact: a conditioner may be
/// any function.
inline torch::Tensor heard(const torch::Tensor& x, double limit) {
  const double most = std::min<double>(limit, std::numeric_limits<float>::max());  // of what x may be made of
  return limit > 0 ? x.clamp(-most, most) : x;
}

/// How a network's output r becomes the logarithm of a scale.
enum class Scale {
  exp,       ///< r itself: WaveGlow as published; unbounded
  tanh,      ///< 3 tanh(r/3) (Real NVP's bounded scale, with the limit fixed): between e⁻³ and e³
  sigmoid,   ///< ln sigmoid(r + 2): Glow as published; only contracts
  additive,  ///< 0: NICE, Glow's additive coupling
};
std::span<const char* const> enum_names(Scale);  ///< in the order of the values, as in configurations
torch::Tensor log_scale(const torch::Tensor& raw, Scale scale);

/// Affine coupling (Real NVP, eq. 7-8): one half of the channels stays and steers the other,
///   (shift, r) = net(x_a, context);  z_a = x_a;  z_b = x_b · exp(log s(r)) + shift;  log|det| = Σ log s.
/// x: [batch, channels, …]; channels/2 are kept, the first or the last ones; net maps them to
/// 2·(channels - channels/2) channels, shift first.
class AffineCoupling : public Bijection {
 public:
  enum class Keep { first, last };
  AffineCoupling(int64_t channels, std::shared_ptr<Conditioner> net, Keep keep = Keep::first, Scale scale = Scale::exp);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;
  /// Runs the network once: the kept half of z is that of x.
  Retraced retrace(const torch::Tensor& z, const torch::Tensor& context) override;

 private:
  struct Steering {
    torch::Tensor shift, log_s;
  };
  /// What the kept half makes of the other; in the type of `kept`, whatever the network computes in.
  Steering steer(const torch::Tensor& kept, const torch::Tensor& context);
  torch::Tensor kept(const torch::Tensor& value) const;
  torch::Tensor moved(const torch::Tensor& value) const;
  /// value: with the kept half as it is and the other as `move(half, shift, log_s)` says.
  template <typename Move>
  Mapped around(const torch::Tensor& value, const torch::Tensor& context, Move&& move);

  int64_t kept_, moved_;
  Keep keep_;
  Scale scale_;
  std::shared_ptr<Conditioner> net_;
};

/// The same with a checkerboard of pixels instead of halves of the channels (Real NVP, figure 3): x [batch, channels,
/// height, width]; pixels where row + column has the parity stay. net maps channels to 2·channels, shift first.
class CheckerboardCoupling : public Bijection {
 public:
  CheckerboardCoupling(int64_t height, int64_t width, int parity, std::shared_ptr<Conditioner> net, Scale scale);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;
  std::string wrong_buffers() const override;

 private:
  std::pair<torch::Tensor, torch::Tensor> shift_and_log_s(const torch::Tensor& x, const torch::Tensor& context);

  int parity_;
  Scale scale_;
  std::shared_ptr<Conditioner> net_;
  torch::Tensor kept_;  // [1, 1, height, width]: 1 where a pixel stays
};

}  // namespace melflow::models
