#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "models/flow/bijection.h"
#include "models/glow.h"
#include "models/iaf.h"
#include "models/maf.h"
#include "models/nsf.h"
#include "models/planar.h"
#include "models/radial.h"
#include "models/real_nvp.h"

namespace melflow::models {

// The flows that are held to what all flows promise, here and on other devices. A new flow is one line of kFamily.

struct Recipe {
  std::function<std::shared_ptr<Bijection>(const FlowShape&)> make;
  std::function<double(const FlowShape&)> weight_count;
};

struct Member {
  std::string name;
  Recipe recipe;
  bool images = false;
};
inline void PrintTo(const Member& m, std::ostream* out) { *out << m.name; }

template <typename Options>
Recipe with(std::shared_ptr<Bijection> (*make)(const FlowShape&, const Options&), Options options) {
  return {[=](const FlowShape& shape) { return make(shape, options); },
          [=](const FlowShape& shape) { return weight_count(shape, options); }};
}

inline const Member kFamily[] = {
    {"planar", with(make_planar, {.layers = 3})},
    {"planar_sampling", with(make_planar, {.layers = 3, .closed = Closed::sampling})},
    {"radial", with(make_radial, {.layers = 3})},
    {"radial_sampling", with(make_radial, {.layers = 3, .closed = Closed::sampling})},
    {"real_nvp", with(make_real_nvp, {.layers = 4, .hidden = 8, .mixing = Mixing::permuted}), true},
    {"real_nvp_batch_norm", with(make_real_nvp, {.layers = 4, .hidden = 8, .norm = Norm::batch_norm}), true},
    {"real_nvp_limited", with(make_real_nvp, {.layers = 4, .hidden = 8, .input_limit = 2})},
    {"glow", with(make_glow, {.steps = 2, .hidden = 8}), true},
    {"glow_plain", with(make_glow, {.steps = 2, .hidden = 8, .convolution = Convolution::plain}), true},
    {"glow_sigmoid", with(make_glow, {.steps = 2, .hidden = 8, .scale = Scale::sigmoid}), true},
    {"glow_splines", with(make_glow, {.steps = 2, .hidden = 8, .bins = 4}), true},
    {"maf", with(make_maf, {.layers = 3, .hidden = 8})},
    {"maf_linear", with(make_maf, {.layers = 3, .hidden = 8, .norm = Norm::batch_norm, .mixing = Mixing::linear})},
    {"maf_limited", with(make_maf, {.layers = 3, .hidden = 8, .input_limit = 2})},
    {"iaf", with(make_iaf, {.layers = 3, .hidden = 8})},
    {"iaf_limited", with(make_iaf, {.layers = 3, .hidden = 8, .input_limit = 2})},
    {"nsf", with(make_nsf, {.layers = 2, .hidden = 8, .bins = 4})},
    {"nsf_autoregressive",
     with(make_nsf, {.layers = 3, .hidden = 8, .bins = 5, .affine = false, .autoregressive = true})},
    {"nsf_autoregressive_affine", with(make_nsf, {.layers = 2, .hidden = 8, .autoregressive = true})},
    {"nsf_published", with(make_nsf, {.layers = 4, .hidden = 8, .affine = false})},
    {"nsf_limited", with(make_nsf, {.layers = 4, .hidden = 8, .bound = 2, .affine = false, .input_limit = 2})},
};

}  // namespace melflow::models
