#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/files/checkpoints.h"

namespace melflow::testing {

/// Writes what NVIDIA published: a legacy torch.save file of {"model": glow.WaveGlow}, a pickled module with weight
/// norm as g and v and, beside them, the derived weight, stale. Of any size; the numbers are noise.
class ModulePickle {
 public:
  static void write(const std::filesystem::path& path, int channels) {
    ModulePickle made;
    const std::string model = made.waveglow(channels);
    std::ofstream out(path, std::ios::binary);
    out << raw("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}")
        << pickled_text("little_endian") << "\x88s.\x80\x02}" << pickled_text("model") << model << "s.\x80\x02](";
    for (size_t key = 0; key < made.counts_.size(); ++key) out << pickled_text(std::to_string(key));
    out << "e.";
    std::vector<float> noise(static_cast<size_t>(*std::max_element(made.counts_.begin(), made.counts_.end())));
    uint32_t state = 1;
    for (auto& value : noise) {
      state = state * 1664525u + 1013904223u;
      value = static_cast<float>(state >> 8) / (1 << 24) - 0.5f;
    }
    for (const int32_t count : made.counts_) {
      out << little_endian(static_cast<uint64_t>(count));
      out.write(reinterpret_cast<const char*>(noise.data()), count * static_cast<std::streamsize>(sizeof(float)));
    }
  }

 private:
  using Named = std::vector<std::pair<std::string, std::string>>;

  std::string tensor(const std::vector<int32_t>& shape) {
    std::vector<int32_t> strides(shape.size(), 1);
    for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
    counts_.push_back(strides[0] * shape[0]);
    return pickled_tensor(
        {.key = std::to_string(counts_.size() - 1), .count = counts_.back(), .shape = shape, .strides = strides});
  }
  std::string parameter(const std::vector<int32_t>& shape) {
    return "ctorch._utils\n_rebuild_parameter\n(" + tensor(shape) + "\x88" + "ccollections\nOrderedDict\n)RtR";
  }
  static std::string dictionary(const Named& items) {
    std::string out = "ccollections\nOrderedDict\n)R(";
    for (const auto& [key, value] : items) out += pickled_text(key) + value;
    return out + "u";
  }
  static std::string module(const std::string& type, const Named& parameters, const Named& modules,
                            const Named& attributes = {}) {
    std::string out = "(" + pickled_text("module") + "c" + type + "\nNNtQ)\x81}(" + pickled_text("_parameters") +
                      dictionary(parameters) + pickled_text("_modules") + dictionary(modules);
    for (const auto& [key, value] : attributes) out += pickled_text(key) + value;
    return out + "ub";
  }
  std::string normed(int32_t out, int32_t in, int32_t kernel) {
    auto bias = parameter({out}), g = parameter({out, 1, 1}), v = parameter({out, in, kernel});
    return module("torch.nn.modules.conv\nConv1d", {{"bias", bias}, {"weight_g", g}, {"weight_v", v}}, {},
                  {{"weight", tensor({out, in, kernel})}});
  }
  std::string plain(const std::string& type, const std::vector<int32_t>& shape, int32_t bias) {
    auto weight = parameter(shape);
    return module("torch.nn.modules.conv\n" + type, {{"weight", weight}, {"bias", parameter({bias})}}, {});
  }

  std::string waveglow(int32_t c) {
    constexpr int32_t kMels = 80, kGroup = 8, kFlows = 12, kLayers = 8;
    const std::string list = "torch.nn.modules.container\nModuleList";
    Named nets, convs;
    for (int32_t k = 0; k < kFlows; ++k) {
      const int32_t channels = kGroup - k / 4 * 2, half = channels / 2;
      Named in, res_skip;
      for (int32_t i = 0; i < kLayers; ++i) {
        in.emplace_back(std::to_string(i), normed(2 * c, c, 3));
        res_skip.emplace_back(std::to_string(i), normed(i + 1 < kLayers ? 2 * c : c, c, 1));
      }
      auto start = normed(c, half, 1), cond = normed(2 * c * kLayers, kMels * kGroup, 1);
      nets.emplace_back(std::to_string(k), module("glow\nWN", {},
                                                  {{"in_layers", module(list, {}, in)},
                                                   {"res_skip_layers", module(list, {}, res_skip)},
                                                   {"start", start},
                                                   {"end", plain("Conv1d", {2 * half, c, 1}, 2 * half)},
                                                   {"cond_layer", cond}}));
      auto conv = module("torch.nn.modules.conv\nConv1d", {{"weight", parameter({channels, channels, 1})}}, {});
      convs.emplace_back(std::to_string(k), module("glow\nInvertible1x1Conv", {}, {{"conv", conv}}));
    }
    auto upsample = plain("ConvTranspose1d", {kMels, kMels, 1024}, kMels);
    return module("glow\nWaveGlow", {},
                  {{"upsample", upsample}, {"WN", module(list, {}, nets)}, {"convinv", module(list, {}, convs)}},
                  {{"n_group", pickled_integer(kGroup)}, {"n_early_every", pickled_integer(4)}});
  }

  std::vector<int32_t> counts_;  ///< of each storage, in the order of the keys
};

}  // namespace melflow::testing
