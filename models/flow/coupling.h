#pragma once

#include <memory>

#include "models/flow/bijection.h"
#include "models/flow/transform.h"

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

/// Coupling (Real NVP, section 3.2): one half of the channels stays and steers the other,
///   z_a = x_a;  z_b = transform(x_b; net(x_a, context));  log|det| = Σ of the transform's log-slopes.
/// x: [batch, channels, …]; channels/2 are kept, the first or the last ones; net maps them to outputs() numbers for
/// each of the others, as Transform wants them.
class Coupling : public Bijection {
 public:
  enum class Keep { first, last };
  Coupling(int64_t channels, std::shared_ptr<Conditioner> net, Keep keep = Keep::first,
           std::shared_ptr<const Transform> transform = std::make_shared<Affine>(Scale::exp));
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;
  /// Runs the network once: the kept half of z is that of x.
  Retraced retrace(const torch::Tensor& z, const torch::Tensor& context) override;

 private:
  /// What the kept half makes of the other; in the type of `kept`, whatever the network computes in.
  torch::Tensor steer(const torch::Tensor& kept, const torch::Tensor& context);
  torch::Tensor kept(const torch::Tensor& value) const;
  torch::Tensor moved(const torch::Tensor& value) const;
  /// Both halves in their places, and the log-determinant.
  Mapped joined(const torch::Tensor& same, const Transform::Moved& other) const;

  int64_t kept_, moved_;
  Keep keep_;
  std::shared_ptr<const Transform> transform_;
  std::shared_ptr<Conditioner> net_;
};

/// The same, affine, with a checkerboard of pixels instead of halves of the channels (Real NVP, figure 3): x [batch,
/// channels, height, width]; pixels where row + column has the parity stay. net maps channels to 2·channels, shift
/// first.
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
