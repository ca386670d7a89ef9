#pragma once

#include <cstdint>

#include "audio/mel.h"
#include "audio/waveform.h"

namespace melflow::engine {

/// White noise brought to a mel by audio::Refiner, which is all that a refined voice does but for the voice: what it
/// adds shows beside this. Throws Error{config} where can_refine_noise() says no.
audio::Waveform refined_noise(const audio::Mel& mel, const audio::MelOptions& recipe, uint64_t seed);
bool can_refine_noise(const audio::MelOptions& recipe);

}  // namespace melflow::engine
