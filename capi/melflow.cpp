#include "capi/melflow.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "audio/mel.h"
#include "audio/resample.h"
#include "base/error.h"
#include "engine/build_info.h"
#include "engine/files/mel_file.h"
#include "engine/synth/synthesizer.h"

using melflow::Error;
using melflow::Exit;

struct melflow_voice {
  std::shared_ptr<const melflow::engine::Synthesizer> synthesizer;  ///< its streams hold it, too
  std::string json;

  const melflow::audio::MelOptions& mel() const { return synthesizer->voice().mel; }
};

struct melflow_stream {
  std::shared_ptr<const melflow::engine::Synthesizer> synthesizer;
  std::unique_ptr<melflow::engine::Stream> stream;
  int64_t given = 0;  ///< frames
  bool finished = false, broken = false;
  std::vector<float> ready{};
  size_t taken = 0;  ///< of them
};

namespace {

thread_local std::string last_error;

melflow_status status_of(Exit code) {
  switch (code) {
    case Exit::usage:
    case Exit::config:
      return MELFLOW_USAGE;
    case Exit::bad_data:
      return MELFLOW_BAD_DATA;
    case Exit::no_input:
    case Exit::io_error:
      return MELFLOW_NO_INPUT;
    case Exit::unavailable:
      return MELFLOW_UNAVAILABLE;
    default:
      return MELFLOW_INTERNAL;
  }
}

/// As much of it as there is memory for.
void tell(const char* why) noexcept {
  try {
    last_error = melflow::one_line(why);
  } catch (...) {
    last_error.clear();
  }
}

/// Nothing that is thrown gets past a function of C.
template <typename Work>
melflow_status guarded(Work&& work) noexcept {
  try {
    last_error.clear();
    work();
    return MELFLOW_OK;
  } catch (const Error& e) {
    tell(e.what());
    return status_of(e.code());
  } catch (const std::bad_alloc&) {
    tell("out of memory");
    return MELFLOW_UNAVAILABLE;
  } catch (const std::exception& e) {
    tell(e.what());
    return MELFLOW_INTERNAL;
  } catch (...) {
    return MELFLOW_INTERNAL;
  }
}

void require(bool fine, const char* what) {
  if (!fine) throw Error(Exit::usage, what);
}

melflow::engine::SynthOptions options_from(const melflow_options* told) {
  melflow_options o = MELFLOW_DEFAULTS;
  if (told != nullptr) {
    require(told->size >= sizeof(size_t), "melflow_options: size is not set; begin with MELFLOW_DEFAULTS");
    std::memcpy(&o, told, std::min(told->size, sizeof o));
  }
  constexpr double kMost = 1e6;
  const auto within = [&](double value) { return value >= 0 && value <= kMost; };
  require(o.sigma < 0 || within(o.sigma), "melflow_options: sigma is no number");
  require(within(o.denoise), "melflow_options: denoise must be 0 or more");
  require(within(o.latency), "melflow_options: latency is in seconds, 0 or more");
  require(o.draws >= 0 && o.draws <= melflow::engine::kMostDraws, "melflow_options: draws must be from 0 to 64");
  require(o.refine <= melflow::audio::RefineOptions::kMostPasses, "melflow_options: refine asks for too many passes");
  require(o.precision >= MELFLOW_FP32 && o.precision <= MELFLOW_INT8,
          "melflow_options: precision is none of the three");
  require(o.threads >= 0 && o.threads <= 1024, "melflow_options: threads must be from 0 to 1024");
  return {.sigma = o.sigma,
          .draws = o.draws,
          .refine = o.refine,
          .denoise = static_cast<float>(o.denoise),
          .precision = melflow::cpu::kPrecisions[o.precision],
          .threads = o.threads,
          .latency = o.latency};
}

std::string json_of(const melflow::engine::Voice& voice) {
  const auto mel = nlohmann::json::parse(melflow::files::recipe_as_json(voice.mel));
  return nlohmann::json{{"name", voice.name}, {"model", voice.model_config}, {"mel", mel}, {"card", voice.card}}.dump(
      -1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Runs what appends to stream.ready. A stream in which something failed half way is not what it was any more.
template <typename Work>
void add_to(melflow_stream& stream, Work&& work) {
  require(!stream.broken, "this stream has failed; open another");
  require(!stream.finished, "this stream has been finished; open another");
  stream.ready.erase(stream.ready.begin(), stream.ready.begin() + static_cast<ptrdiff_t>(stream.taken));
  stream.taken = 0;
  const auto before = stream.ready.size();
  try {
    work();
    melflow::engine::require_finite(std::span(stream.ready).subspan(before), "a mel", stream.synthesizer->voice().name);
  } catch (...) {
    stream.broken = true;
    stream.ready.resize(before);
    throw;
  }
}

/// Samples at the voice's rate.
int64_t at_rate_of(const melflow_voice& voice, size_t count, int32_t sample_rate) {
  return std::llround(static_cast<double>(count) * voice.mel().sample_rate / sample_rate);
}

constexpr size_t kMostSamples = size_t{1} << 40;  // more is no sound, and sums of it would overflow

}  // namespace

const char* melflow_error(void) { return last_error.c_str(); }
const char* melflow_version(void) { return melflow::engine::version(); }

melflow_status melflow_voice_open(const char* path, const melflow_options* options, melflow_voice** voice) {
  if (voice != nullptr) *voice = nullptr;
  return guarded([&] {
    require(path != nullptr && voice != nullptr, "melflow_voice_open: a path and a place for the voice are needed");
    const melflow::engine::VoiceFile file(path);
    *voice = new melflow_voice{std::make_shared<melflow::engine::Synthesizer>(file, options_from(options)),
                               json_of(file.voice())};
  });
}
void melflow_voice_close(melflow_voice* voice) { delete voice; }

int32_t melflow_voice_sample_rate(const melflow_voice* voice) {
  return voice == nullptr ? 0 : voice->mel().sample_rate;
}
int32_t melflow_voice_hop_length(const melflow_voice* voice) { return voice == nullptr ? 0 : voice->mel().hop_length; }
int32_t melflow_voice_n_mels(const melflow_voice* voice) { return voice == nullptr ? 0 : voice->mel().n_mels; }
int64_t melflow_voice_first_frames(const melflow_voice* voice) {
  return voice == nullptr ? 0 : voice->synthesizer->first_frames();
}
const char* melflow_voice_json(const melflow_voice* voice) { return voice == nullptr ? "" : voice->json.c_str(); }

melflow_status melflow_stream_open(const melflow_voice* voice, uint64_t seed, melflow_stream** stream) {
  if (stream != nullptr) *stream = nullptr;
  return guarded([&] {
    require(voice != nullptr && stream != nullptr,
            "melflow_stream_open: a voice and a place for the stream are needed");
    *stream = new melflow_stream{voice->synthesizer, voice->synthesizer->open_stream(melflow::engine::Noise(seed))};
  });
}

melflow_status melflow_stream_add(melflow_stream* stream, const float* frames, size_t count) {
  return guarded([&] {
    require(stream != nullptr && (frames != nullptr || count == 0),
            "melflow_stream_add: a stream and frames are needed");
    const auto bands = static_cast<size_t>(stream->synthesizer->voice().mel.n_mels);
    require(count <= kMostSamples / bands, "melflow_stream_add: so many frames are no mel");
    std::span told(frames, count * bands);
    const auto wrong = std::ranges::find_if(told, [](float number) { return !std::isfinite(number); });
    if (wrong != told.end()) {
      const auto at = static_cast<size_t>(wrong - told.begin());
      throw Error(Exit::bad_data, "melflow_stream_add: frame " + std::to_string(at / bands) + ", band " +
                                      std::to_string(at % bands) + " is NaN or infinity");
    }
    add_to(*stream, [&] {
      while (!told.empty()) {
        const auto once = static_cast<size_t>(stream->synthesizer->frames_at_once(stream->given)) * bands;
        const auto piece = told.first(std::min(once, told.size()));
        stream->stream->add(piece, stream->ready);
        stream->given += static_cast<int64_t>(piece.size() / bands);
        told = told.subspan(piece.size());
      }
    });
  });
}

melflow_status melflow_stream_finish(melflow_stream* stream) {
  return guarded([&] {
    require(stream != nullptr, "melflow_stream_finish: a stream is needed");
    add_to(*stream, [&] { stream->stream->finish(stream->ready); });
    stream->finished = true;
  });
}

size_t melflow_stream_ready(const melflow_stream* stream) {
  return stream == nullptr ? 0 : stream->ready.size() - stream->taken;
}

size_t melflow_stream_take(melflow_stream* stream, float* samples, size_t most) {
  const auto count = std::min(most, melflow_stream_ready(stream));
  if (count == 0 || samples == nullptr) return 0;
  std::copy_n(stream->ready.begin() + static_cast<ptrdiff_t>(stream->taken), count, samples);
  stream->taken += count;
  return count;
}

void melflow_stream_close(melflow_stream* stream) { delete stream; }

size_t melflow_mel_frames(const melflow_voice* voice, size_t count, int32_t sample_rate) {
  if (voice == nullptr || sample_rate <= 0 || count > kMostSamples) return 0;
  return static_cast<size_t>(voice->mel().stft().frames(at_rate_of(*voice, count, sample_rate)));
}

melflow_status melflow_mel(const melflow_voice* voice, const float* samples, size_t count, int32_t sample_rate,
                           float* frames) {
  return guarded([&] {
    require(voice != nullptr && samples != nullptr && frames != nullptr,
            "melflow_mel: a voice, samples and a place for frames are needed");
    require(sample_rate > 0 && count <= kMostSamples, "melflow_mel: no such rate, or more samples than any sound has");
    const std::span sound(samples, count);
    if (!std::ranges::all_of(sound, [](float x) { return std::isfinite(x); })) {
      throw Error(Exit::bad_data, "melflow_mel: a sample is NaN or infinity");
    }
    const auto& recipe = voice->mel();
    const auto mel = melflow::audio::MelExtractor(recipe)(
        {melflow::audio::resample(sound, sample_rate, recipe.sample_rate), recipe.sample_rate});
    std::vector<float> out;
    melflow::audio::append_frames(mel, 0, mel.frames, out);
    std::ranges::copy(out, frames);
  });
}
