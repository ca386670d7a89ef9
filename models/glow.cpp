#include "models/glow.h"

#include "models/flow/act_norm.h"
#include "models/flow/chain.h"
#include "models/flow/conv1x1.h"
#include "models/flow/spline.h"
#include "models/flow/split.h"
#include "models/flow/squeeze.h"
#include "models/nets/conv_net.h"
#include "models/nets/mlp.h"

namespace melflow::models {
namespace {

using Parts = std::vector<std::shared_ptr<Bijection>>;
using Keep = Coupling::Keep;

template <typename Net>
typename Net::Options net_options(int64_t in, int64_t out, const FlowShape& shape, const GlowOptions& o) {
  return {.in = in, .out = out, .hidden = o.hidden, .context = shape.context};
}

std::shared_ptr<Conditioner> net(int64_t in, int64_t out, const FlowShape& shape, const GlowOptions& o) {
  if (shape.image()) return std::make_shared<ConvNet>(net_options<ConvNet>(in, out, shape, o));
  return std::make_shared<Mlp>(net_options<Mlp>(in, out, shape, o));
}

double net_weight_count(int64_t in, int64_t out, const FlowShape& shape, const GlowOptions& o) {
  return shape.image() ? net_options<ConvNet>(in, out, shape, o).weight_count()
                       : net_options<Mlp>(in, out, shape, o).weight_count();
}

/// Of a step's coupling.
std::shared_ptr<const Transform> transform_of(const GlowOptions& o) {
  if (o.bins == 0) return std::make_shared<Affine>(o.scale);
  return affine_and_spline(o.scale, Affine::Order::scale_first, {.bins = o.bins, .bound = o.bound});
}

/// Numbers that a step's network says of each that moves.
int64_t outputs(const GlowOptions& o) { return o.bins == 0 ? 2 : 2 + 3 * o.bins - 1; }

void append_steps(Parts& parts, const FlowShape& shape, const GlowOptions& o) {
  const auto c = shape.channels;
  const auto transform = transform_of(o);
  for (int64_t k = 0; k < o.steps; ++k) {
    parts.push_back(std::make_shared<ActNorm>(c));
    if (o.convolution == Convolution::lu) {
      parts.push_back(std::make_shared<Conv1x1Lu>(c));
    } else {
      parts.push_back(std::make_shared<Conv1x1>(c));
    }
    parts.push_back(
        std::make_shared<Coupling>(c, net(c / 2, outputs(o) * (c - c / 2), shape, o), Keep::first, transform));
  }
}

/// One level and, inside its split, the ones below it. Value and input have the same shape.
std::shared_ptr<Bijection> level(const FlowShape& shape, const GlowOptions& o, int64_t levels) {
  FlowShape folded{shape.channels * 4, shape.height / 2, shape.width / 2, shape.context};
  Parts parts{std::make_shared<Squeeze2d>()};
  append_steps(parts, folded, o);
  if (levels > 1) {
    const auto half = folded.channels / 2;
    parts.push_back(std::make_shared<Coupling>(folded.channels, net(half, 2 * half, folded, o), Keep::last,
                                               std::make_shared<Affine>(o.scale)));
    FlowShape rest = folded;
    rest.channels = half;
    parts.push_back(std::make_shared<Split>(half, level(rest, o, levels - 1)));
  } else {
    parts.push_back(std::make_shared<ActNorm>(folded.channels, ActNorm::Start::identity));
  }
  parts.push_back(std::make_shared<Inverse>(std::make_shared<Squeeze2d>()));
  return std::make_shared<Chain>(parts);
}

/// Of the steps at one level.
double steps_weight_count(const FlowShape& shape, const GlowOptions& o) {
  const auto c = shape.channels, in = c / 2, out = outputs(o) * (c - in);
  const auto mixing = o.convolution == Convolution::lu ? Conv1x1Lu::weight_count(c) : Conv1x1::weight_count(c);
  return static_cast<double>(o.steps) * (mixing + net_weight_count(in, out, shape, o));
}

}  // namespace

double weight_count(const FlowShape& shape, const GlowOptions& o) {
  if (!shape.image()) return steps_weight_count(shape, o);
  double count = 0;
  FlowShape at = shape;
  for (int64_t level = std::min(o.levels, kMostSqueezes); level > 0; --level) {
    at.channels *= 4;
    count += steps_weight_count(at, o);
    at.channels /= 2;
    if (level > 1) count += net_weight_count(at.channels, 2 * at.channels, at, o);
  }
  return count;
}

std::shared_ptr<Bijection> make_glow(const FlowShape& shape, const GlowOptions& o) {
  TORCH_CHECK(o.levels > 0 && o.steps > 0, "glow: levels and steps must be positive");
  if (!shape.image()) {
    TORCH_CHECK(shape.channels >= 2, "glow: needs two dimensions at least; maf takes one");
    Parts parts;
    append_steps(parts, shape, o);
    return std::make_shared<Chain>(parts);
  }
  const int64_t fold = int64_t{1} << std::min(o.levels, kMostSqueezes);
  TORCH_CHECK(shape.height % fold == 0 && shape.width % fold == 0, "glow: model.levels ", o.levels,
              " needs sides that are multiples of ", fold, ", not ", shape.height, " x ", shape.width);
  return level(shape, o, o.levels);
}

}  // namespace melflow::models
