#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include <torch/torch.h>

namespace melflow::models {

/// What a network's answer does to each number, by itself: a rising map x → z of one number, for couplings and
/// autoregressive layers. It has no weights; all that it is follows from `raw`, the outputs() numbers that the network
/// gives for each number of x: x [batch, D, …], raw [batch, outputs()·D, …], output k of channel i in channel k·D + i.
/// An answer of zeros is the identity.
class Transform {
 public:
  /// Of each number: where it went, and the logarithm of the map's slope there.
  struct Moved {
    torch::Tensor value, log_slope;
  };
  virtual ~Transform() = default;
  virtual int64_t outputs() const = 0;
  /// Differentiable, on any device.
  virtual Moved forward(const torch::Tensor& x, const torch::Tensor& raw) const = 0;
  virtual Moved inverse(const torch::Tensor& z, const torch::Tensor& raw) const = 0;

  /// forward(), or with `inverse` that, of n numbers in plain arrays, without gradients: output k of number i is
  /// raw[k·stride + i], which may be overwritten. from and to may be the same.
  virtual void move(bool inverse, const float* from, float* raw, int64_t stride, float* to, float* log_slope,
                    int64_t n) const = 0;
  virtual void move(bool inverse, const double* from, double* raw, int64_t stride, double* to, double* log_slope,
                    int64_t n) const = 0;
};

/// Answers of `items` items, [items, outputs, d] → raw [outputs, items·d], as the arrays want them.
template <typename T>
void gather_raw(const T* answers, int64_t items, int64_t outputs, int64_t d, T* raw) {
  for (int64_t b = 0; b < items; ++b) {
    for (int64_t k = 0; k < outputs; ++k) std::copy_n(answers + (b * outputs + k) * d, d, raw + (k * items + b) * d);
  }
}

/// How a network's output r becomes the logarithm of a scale.
enum class Scale {
  exp,       ///< r itself: WaveGlow as published; unbounded
  tanh,      ///< 3 tanh(r/3) (Real NVP's bounded scale, with the limit fixed): between e⁻³ and e³
  sigmoid,   ///< ln sigmoid(r + 2): Glow as published; only contracts, and so is no identity at zero
  additive,  ///< 0: NICE, Glow's additive coupling
};
std::span<const char* const> enum_names(Scale);  ///< in the order of the values, as in configurations
torch::Tensor log_scale(const torch::Tensor& raw, Scale scale);

/// A shift t and a scale s = exp(log_scale(r)), from raw = (t, r), in one of two orders:
///   scale first  z = x·s + t      (Real NVP, eq. 7-8)
///   shift first  z = (x - t) / s  (MAF, eq. 3-5)
class Affine : public Transform {
 public:
  enum class Order { scale_first, shift_first };
  explicit Affine(Scale scale, Order order = Order::scale_first) : scale_(scale), order_(order) {}
  int64_t outputs() const override { return 2; }
  Moved forward(const torch::Tensor& x, const torch::Tensor& raw) const override;
  Moved inverse(const torch::Tensor& z, const torch::Tensor& raw) const override;
  void move(bool inverse, const float* from, float* raw, int64_t stride, float* to, float* log_slope,
            int64_t n) const override;
  void move(bool inverse, const double* from, double* raw, int64_t stride, double* to, double* log_slope,
            int64_t n) const override;

 private:
  Scale scale_;
  Order order_;
};

/// One after the other: z = second(first(x)). raw: what the first wants, then what the second wants.
class Composed : public Transform {
 public:
  Composed(std::shared_ptr<const Transform> first, std::shared_ptr<const Transform> second)
      : first_(std::move(first)), second_(std::move(second)) {}
  int64_t outputs() const override { return first_->outputs() + second_->outputs(); }
  Moved forward(const torch::Tensor& x, const torch::Tensor& raw) const override;
  Moved inverse(const torch::Tensor& z, const torch::Tensor& raw) const override;
  void move(bool inverse, const float* from, float* raw, int64_t stride, float* to, float* log_slope,
            int64_t n) const override;
  void move(bool inverse, const double* from, double* raw, int64_t stride, double* to, double* log_slope,
            int64_t n) const override;

 private:
  /// Its two parts of raw [batch, outputs()·D, …].
  std::pair<torch::Tensor, torch::Tensor> parts(const torch::Tensor& raw) const;
  template <typename T>
  void run(bool inverse, const T* from, T* raw, int64_t stride, T* to, T* log_slope, int64_t n) const;

  std::shared_ptr<const Transform> first_, second_;
};

}  // namespace melflow::models
