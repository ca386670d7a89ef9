#include "models/flow/squeeze.h"

namespace melflow::models {

Squeeze::Squeeze(int64_t group) : group_(group) { TORCH_CHECK(group > 0, "Squeeze: group is ", group); }

Mapped Squeeze::forward(const torch::Tensor& x, const torch::Tensor&) {
  TORCH_CHECK(x.dim() == 2 && x.size(1) % group_ == 0, "Squeeze: wants [batch, time] with time a multiple of ", group_,
              ", not ", x.sizes());
  return {x.view({x.size(0), -1, group_}).transpose(1, 2).contiguous(), no_volume(x),
          torch::zeros({x.size(0), x.size(1) / group_}, x.options())};
}

Mapped Squeeze::inverse(const torch::Tensor& z, const torch::Tensor&) {
  TORCH_CHECK(z.dim() == 3 && z.size(1) == group_, "Squeeze: wants [batch, ", group_, ", groups], not ", z.sizes());
  return {z.transpose(1, 2).reshape({z.size(0), -1}), no_volume(z), torch::zeros({z.size(0), z.size(2)}, z.options())};
}

Mapped Squeeze2d::forward(const torch::Tensor& x, const torch::Tensor&) {
  TORCH_CHECK(x.dim() == 4 && x.size(2) % 2 == 0 && x.size(3) % 2 == 0, "Squeeze2d: wants even images, not ",
              x.sizes());
  return {torch::pixel_unshuffle(x, 2), no_volume(x)};
}

Mapped Squeeze2d::inverse(const torch::Tensor& z, const torch::Tensor&) {
  return {torch::pixel_shuffle(z, 2), no_volume(z)};
}

}  // namespace melflow::models
