#pragma once

#include <filesystem>

#include "engine/files/picture.h"
#include "engine/flow/flow_score.h"

namespace melflow::engine {

/// Pictures of flows in the plane; each throws Error{usage} for a flow of another dimension, or a conditional one
/// without the row [1, numbers] that it is to hear.

/// Samples of the flow beside the data.
files::Image picture_samples(const FlowModel& model, const FlowData& data, int64_t count, uint64_t seed);
/// The learned density as a heat map; beside it the true one where the data has one.
files::Image picture_density(const FlowModel& model, const FlowData& data, const torch::Tensor& context = {});
/// A square grid of noise, from -3 to 3, pushed through the flow into the data's plane.
files::Image picture_grid(const FlowModel& model, const FlowData& data, const torch::Tensor& context = {});

/// The loss and the validation of a run folder's metrics.jsonl. Throws Error{no_input, bad_data}.
files::Image picture_training(const std::filesystem::path& run);

/// Throws Error{usage} where the flow is none of images, or a grid of so many would be larger than a .png may be.
void require_picture(const FlowModel& model, int64_t count, int columns);
/// Images [n, channels, height, width] of the flow's pixels as a grid; the first channel of each. Throws as
/// require_picture().
files::Image picture_images(const FlowModel& model, const torch::Tensor& images, int columns);

}  // namespace melflow::engine
