#pragma once

#include <cstdint>

#include <nlohmann/json_fwd.hpp>

#include "audio/mel.h"
#include "audio/sound_file.h"
#include "engine/synth/synthesizer.h"

namespace melflow::tools {

/// The certificate of streaming: the whole mel at once, then cut into random pieces of 1 to 1,000 frames, `chunkings`
/// times, and so its first 1, 2 and 3 frames in every way. Each makes PCM, and has a digest of it; "equal" says whether
/// all are the same, "max_difference" how far apart two samples are. Returns early after a signal. Several at a time,
/// on `threads` threads.
nlohmann::json verify_stream(const engine::Synthesizer& synthesizer, const files::MelFrames& mel,
                             const engine::Noise& noise, audio::Encoding encoding, int chunkings, int threads);

}  // namespace melflow::tools
