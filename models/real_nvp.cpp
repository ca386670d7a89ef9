#include "models/real_nvp.h"

#include <cmath>

#include "models/flow/chain.h"
#include "models/flow/split.h"
#include "models/flow/squeeze.h"
#include "models/nets/conv_net.h"
#include "models/nets/mlp.h"

namespace melflow::models {
namespace {

using Parts = std::vector<std::shared_ptr<Bijection>>;
using Keep = Coupling::Keep;

Mlp::Options row_net(const FlowShape& shape, const RealNvpOptions& o) {
  const auto d = shape.channels;
  return {.in = d / 2,
          .out = 2 * (d - d / 2),
          .hidden = o.hidden,
          .hidden_layers = o.hidden_layers,
          .context = shape.context,
          .input_limit = o.input_limit};
}

std::shared_ptr<Bijection> rows(const FlowShape& shape, const RealNvpOptions& o) {
  const auto d = shape.channels;
  TORCH_CHECK(d >= 2 && o.layers > 0, "real_nvp: needs two dimensions and a layer at least, not ", d, " and ", o.layers,
              "; maf takes one dimension");
  Parts parts;
  for (int64_t i = 0; i < o.layers; ++i) {
    if (i > 0) append_between(parts, d, o.mixing, o.norm);
    auto net = std::make_shared<Mlp>(row_net(shape, o));
    parts.push_back(
        std::make_shared<Coupling>(d, net, i % 2 == 0 ? Keep::first : Keep::last, std::make_shared<Affine>(o.scale)));
  }
  return std::make_shared<Chain>(parts);
}

ConvNet::Options image_net(int64_t in, int64_t out, const FlowShape& shape, const RealNvpOptions& o) {
  return {.in = in, .out = out, .hidden = o.hidden, .context = shape.context};
}

std::shared_ptr<ConvNet> net(int64_t in, int64_t out, const FlowShape& shape, const RealNvpOptions& o) {
  return std::make_shared<ConvNet>(image_net(in, out, shape, o));
}

/// Checkerboard couplings of a scale, and couplings of its channels after the squeeze (section 3.6).
constexpr int64_t kCheckerboards = 3, kLastCheckerboards = 4, kChannelCouplings = 3;
void append_checkerboards(Parts& parts, int64_t count, const FlowShape& shape, const RealNvpOptions& o) {
  const auto c = shape.channels;
  for (int64_t i = 0; i < count; ++i) {
    append_between(parts, c, Mixing::none, o.norm);
    parts.push_back(std::make_shared<CheckerboardCoupling>(shape.height, shape.width, static_cast<int>(i % 2),
                                                           net(c, 2 * c, shape, o), o.scale));
  }
}

/// One scale and, inside its split, the ones below it. Value and input have the same shape.
std::shared_ptr<Bijection> scale_at(const FlowShape& shape, const RealNvpOptions& o, int64_t levels) {
  Parts parts;
  append_checkerboards(parts, levels == 1 ? kLastCheckerboards : kCheckerboards, shape, o);
  if (levels == 1) return std::make_shared<Chain>(parts);
  const FlowShape folded{shape.channels * 4, shape.height / 2, shape.width / 2, shape.context};
  parts.push_back(std::make_shared<Squeeze2d>());
  for (int64_t i = 0; i < kChannelCouplings; ++i) {
    append_between(parts, folded.channels, Mixing::none, o.norm);
    parts.push_back(std::make_shared<Coupling>(folded.channels, net(folded.channels / 2, folded.channels, folded, o),
                                               i % 2 == 0 ? Keep::first : Keep::last,
                                               std::make_shared<Affine>(o.scale)));
  }
  FlowShape half = folded;
  half.channels /= 2;
  parts.push_back(std::make_shared<Split>(half.channels, scale_at(half, o, levels - 1)));
  parts.push_back(std::make_shared<Inverse>(std::make_shared<Squeeze2d>()));
  return std::make_shared<Chain>(parts);
}

}  // namespace

double weight_count(const FlowShape& shape, const RealNvpOptions& o) {
  if (!shape.image()) {
    return static_cast<double>(o.layers) * row_net(shape, o).weight_count() +
           static_cast<double>(o.layers - 1) * between_weight_count(shape.channels, o.mixing);
  }
  double count = 0;
  int64_t c = shape.channels;
  int halved = 0;
  for (int64_t level = std::min(o.levels, kMostSqueezes + 1); level > 0; --level, c *= 2, ++halved) {
    const auto checkerboards = level == 1 ? kLastCheckerboards : kCheckerboards;
    const double positions =
        std::ldexp(static_cast<double>(shape.height) * static_cast<double>(shape.width), -2 * halved);
    count += static_cast<double>(checkerboards) * (image_net(c, 2 * c, shape, o).weight_count() + positions);
    if (level > 1) count += static_cast<double>(kChannelCouplings) * image_net(2 * c, 4 * c, shape, o).weight_count();
  }
  return count;
}

std::shared_ptr<Bijection> make_real_nvp(const FlowShape& shape, const RealNvpOptions& o) {
  if (!shape.image()) return rows(shape, o);
  const int64_t fold = int64_t{1} << std::clamp<int64_t>(o.levels - 1, 0, kMostSqueezes);
  TORCH_CHECK(o.levels > 0 && shape.height % fold == 0 && shape.width % fold == 0, "real_nvp: model.levels ", o.levels,
              " needs sides that are multiples of ", fold, ", not ", shape.height, " x ", shape.width);
  return scale_at(shape, o, o.levels);
}

}  // namespace melflow::models
