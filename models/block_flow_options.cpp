#include "models/block_flow_options.h"

namespace melflow::models {
namespace {

using Constants = BlockFlowConstants;

std::string text(int64_t n) { return std::to_string(n); }

}  // namespace

void BlockFlowOptions::validate() const {
  require(n_mels > 0 && hop_length > 0 && group_size > 0 && encoder_channels > 0 && hidden > 0 && layers > 0,
          "BlockFlow: sizes must be positive");
  require(hop_length % group_size == 0,
          "BlockFlow: hop_length " + text(hop_length) + " is no multiple of group_size " + text(group_size));
  require(hop_length <= Constants::kFft,
          "BlockFlow: hop_length " + text(hop_length) + " is above " + text(Constants::kFft));
  require(
      filter_taps > 0 && filter_taps + group_size <= Constants::kFft,
      "BlockFlow: filter_taps + group_size is " + text(filter_taps + group_size) + ", above " + text(Constants::kFft));
  require(cepstrum > 0 && cepstrum < Constants::kFft / 2,
          "BlockFlow: cepstrum " + text(cepstrum) + " is not within 1.." + text(Constants::kFft / 2 - 1));
  require(past > 0 && past % hop_length == 0, "BlockFlow: past " + text(past) + " is no multiple of hop_length");
  require(
      group_size <= Constants::kFft - Constants::kInversionPast,
      "BlockFlow: group_size " + text(group_size) + " is above " + text(Constants::kFft - Constants::kInversionPast));
  require(filter_taps <= Constants::kInversionPast,
          "BlockFlow: filter_taps " + text(filter_taps) + " is above " + text(Constants::kInversionPast));
  require(context_noise >= 0 && context_noise <= 1,
          "BlockFlow: context_noise " + std::to_string(context_noise) + " is not in 0..1");
  require(lags > 0 && correlation > 0 && group_size + lags - 1 <= past - correlation,
          "BlockFlow: lags up to " + text(group_size + lags - 1) + " compared over " + text(correlation) +
              " samples do not fit into a past of " + text(past));
}

double BlockFlowOptions::weight_count() const {
  const auto d = [](int64_t n) { return static_cast<double>(n); };
  const double e = d(encoder_channels), h = d(hidden);
  return 3 * e * (d(n_mels) + 2 * e) + e * (e + d(cepstrum) + 2 * h + d(lags)) + h * (2 * d(past) + 6 * d(group_size)) +
         2 * h * h * d(layers) + 2 * h * d(group_size);
}

TensorShapes BlockFlowOptions::tensors() const {
  TensorShapes out;
  const auto layer = [&](const std::string& name, const std::vector<int64_t>& weight) {
    out[name + ".weight"] = {weight};
    out[name + ".bias"] = {{weight[0]}};
  };
  layer("encoder_0", {encoder_channels, n_mels + 2, 3});
  layer("encoder_1", {encoder_channels, encoder_channels, 3});
  layer("encoder_2", {encoder_channels, encoder_channels, 3});
  layer("encoder_3", {encoder_channels, encoder_channels, 1});
  layer("cepstrum", {cepstrum + 1, encoder_channels});
  layer("film", {2 * hidden, encoder_channels});
  layer("lag_bias", {lags, encoder_channels});
  out["past.weight"] = {{hidden, 2 * past + 6 * group_size}};
  for (int64_t i = 0; i < layers; ++i) layer("layer_" + text(i), {2 * hidden, hidden});
  layer("out", {2 * group_size, hidden});
  out["sharpness"] = {{2}};
  out["mel_to_magnitude"] = {{n_mels, Constants::kFft / 2 + 1}, /*trained=*/false};
  return out;
}

}  // namespace melflow::models
