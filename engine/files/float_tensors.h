#pragma once

#include <string>
#include <vector>

#include "engine/files/strided_tensor.h"

namespace melflow::files {

/// Whether no number of a float32 tensor is NaN or infinite.
bool all_finite(const TensorView& tensor);

/// g [rows, 1, 1] of a float32 weight [rows, …], so that g·weight/‖weight‖ is weight again (weight norm taken off). A
/// row of zeros has g = 0 and needs some direction: it gets one, in a copy that `weight` then views. What is new lies
/// in `made`.
TensorView split_off_norms(TensorView& weight, Arrays& made);

/// float32 tensors of equal shape but for the first axis, one behind the other along it; in `made` unless there is
/// only one.
TensorView stacked(const std::vector<TensorView>& parts, Arrays& made);

/// (1 - share)·tensor + share·other, of equal shapes, in float32, in `made`. Throws as as_float32() does.
TensorView mixed(const TensorView& tensor, const TensorView& other, double share, const std::string& name,
                 Arrays& made);

/// The tensor in half precision (IEEE binary16, rounded to nearest even), in `made`. Throws Error{bad_data} that names
/// `name` where a number is beyond ±65504.
TensorView halved(const TensorView& tensor, const std::string& name, Arrays& made);

/// The same, each number rounded to a whole number from -127 to 127 times a power of two for its row (what one index of
/// the first axis holds), which halves hold exactly: the power that rounds the row best.
TensorView rounded_to_bytes(const TensorView& tensor, const std::string& name, Arrays& made);

}  // namespace melflow::files
