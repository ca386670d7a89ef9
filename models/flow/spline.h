#pragma once

#include "models/flow/transform.h"

namespace melflow::models {

/// Monotone rational-quadratic spline (Durkan et al. 2019, section 3.1; Gregory & Delbourgo 1982): between -bound and
/// bound `bins` pieces, each a ratio of two quadratics, through knots whose places, heights and slopes a network
/// chooses; the identity beyond, where slopes are 1. Raw are, for each number, the bins' widths and heights before
/// their softmax, then the slopes of the knots between before a softplus. Forward and inverse cost the same.
class Spline : public Transform {
 public:
  struct Options {
    int64_t bins = 8;  ///< 2 to kMostBins
    double bound = 4;  ///< up to 1000
  };
  static constexpr int64_t kMostBins = 32;
  explicit Spline(const Options& options);
  int64_t outputs() const override { return 3 * options_.bins - 1; }
  Moved forward(const torch::Tensor& x, const torch::Tensor& raw) const override;
  Moved inverse(const torch::Tensor& z, const torch::Tensor& raw) const override;
  /// The same by LibTorch's operations: the oracle of both, and what other devices do. It has second derivatives, which
  /// the loops on a CPU refuse.
  Moved plain(const torch::Tensor& value, const torch::Tensor& raw, bool inverse) const;
  void move(bool inverse, const float* from, float* raw, int64_t stride, float* to, float* log_slope,
            int64_t n) const override;
  void move(bool inverse, const double* from, double* raw, int64_t stride, double* to, double* log_slope,
            int64_t n) const override;

 private:
  Moved moved(const torch::Tensor& value, const torch::Tensor& raw, bool inverse) const;

  Options options_;
};

/// A spline behind a shift and a scale, as each number of a flow wants it: the spline's bound is then in units of what
/// those leave, and what lies beyond is moved by them.
inline std::shared_ptr<const Transform> affine_and_spline(Scale scale, Affine::Order order,
                                                          const Spline::Options& options) {
  return std::make_shared<Composed>(std::make_shared<Affine>(scale, order), std::make_shared<Spline>(options));
}

}  // namespace melflow::models
