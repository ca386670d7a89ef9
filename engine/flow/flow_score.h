#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/flow/flow_data.h"
#include "engine/flow/flow_file.h"

namespace melflow::engine {

/// A mean and its standard error.
struct Estimate {
  double mean = 0, standard_error = 0;  ///< NaN: of one item nobody knows
};

/// How well data fits a flow.
struct FlowScore {
  int64_t items = 0;
  int64_t not_finite = 0;  ///< of them: so far from all that the flow learned that single precision holds no density
  int64_t first_not_finite = -1;
  Estimate nats;                                    ///< log-likelihood of an item, in the data's own units
  std::optional<Estimate> bits_per_dimension = {};  ///< of images: an upper bound of the pixels' own
  std::optional<double> standardised_nats = {};     ///< where the flow standardises: the mean in standardised units
  std::optional<double> entropy = {};               ///< of a toy: what no model can go below
  std::vector<float> log_prob;                      ///< nats of each item, in order
  std::optional<Estimate> gap = {};  ///< of a toy: true log-density minus the flow's on the same points ≥ 0
};

/// What a flow of this configuration hears of items, [n, numbers]: their context, or their labels one-hot; undefined
/// where it hears nothing. Throws Error{usage} where they have none, Error{bad_data} where it is not the flow's.
torch::Tensor context_of(const nlohmann::json& config, const FlowBatch& batch, const std::string& name);

/// ln p of each item [n] in nats, on the flow's device; pixels get noise of the seed. `config` is the flow's, resolved;
/// `name` says whose items they are. Throws Error{bad_data} for labels and pixels that are none.
torch::Tensor log_prob(models::Flow& flow, const nlohmann::json& config, const FlowBatch& batch, uint64_t seed,
                       const std::string& name);

/// How many items go through a flow together: 1024, fewer where they are large.
int64_t items_at_once(const models::FlowShape& shape);

/// Throws Error{bad_data} where items of the data are not of the flow's sizes, their labels not among its classes or
/// their contexts of another width, Error{usage} where a conditional flow gets named data, which has neither.
void require_fit(const FlowModel& model, const FlowData& data);

/// Of all items, or of `count` fresh ones of a toy. Throws as require_fit() does.
FlowScore score_flow(const FlowModel& model, const FlowData& data, int64_t count, uint64_t seed);

/// How near a flow comes to an energy: KL(q ‖ p) by `count` samples, and the effective sample size of importance
/// weights p/q over count: near 0 where q misses mass that p has.
struct EnergyScore {
  int64_t items = 0;
  int64_t not_finite = 0;  ///< of them: single precision does not hold them, or their density
  Estimate kl;
  double effective_share = 0;
};
EnergyScore score_energy(const FlowModel& model, const Energy& energy, int64_t count, uint64_t seed);

/// model.flow->draw(z, context). Of a file's weights, whatever they are: some have an inverse in theory only. Throws
/// Error{bad_data} where it is not found.
models::Flow::Drawn draw_or_refuse(const FlowModel& model, const torch::Tensor& z, const torch::Tensor& context);

/// What a conditional flow hears of `given`: its numbers as they are, or a class one-hot; [1, numbers]. Throws
/// Error{usage} where the flow hears nothing, or something else.
torch::Tensor context_row(const FlowModel& model, const std::vector<float>& given);

struct FlowSampling {
  double temperature = 1.0;  ///< a factor of the noise
  uint64_t seed = 0;
  std::optional<int64_t> label = {};  ///< of a flow of classes; without it the classes take turns
  torch::Tensor context = {};         ///< of one of numbers: [rows, numbers], which take turns
};
/// Of what all samples are conditional on: numbers, or one class. Throws as context_row() does.
void give(const FlowModel& model, const std::vector<float>& given, FlowSampling& sampling);
/// Samples number first … first + count - 1 of a seed: however they are split into calls, they are the same up to
/// rounding. Images are whole pixels from 0 to pixel_levels - 1.
torch::Tensor sample_flow(const FlowModel& model, int64_t first, int64_t count, const FlowSampling& sampling);

/// The labels that sample_flow gives to its samples, or undefined.
torch::Tensor sample_labels(const FlowModel& model, int64_t first, int64_t count, const FlowSampling& sampling);

/// `count` images on the way between the two of `ends`, both included: equal steps in the latent and, of a conditional
/// flow, from one's class or context to the other's. Throws as context_of() does.
torch::Tensor interpolate(const FlowModel& model, const FlowBatch& ends, int64_t count);

}  // namespace melflow::engine
