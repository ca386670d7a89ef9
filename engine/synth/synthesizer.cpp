#include "engine/synth/synthesizer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "audio/refiner.h"
#include "base/error.h"
#include "engine/synth/denoiser.h"
#include "engine/synth/hasty_stream.h"

namespace melflow::engine {
namespace {

/// A stream whose samples go through the denoiser before they come out.
class DenoisedStream : public Stream {
 public:
  DenoisedStream(std::unique_ptr<Stream> inner, Denoiser denoiser)
      : inner_(std::move(inner)), denoiser_(std::move(denoiser)) {}
  void add(std::span<const float> frames, std::vector<float>& out) override {
    inner_->add(frames, raw_);
    pass(out);
  }
  void finish(std::vector<float>& out) override {
    inner_->finish(raw_);
    pass(out);
    denoiser_.finish(out);
  }
  std::optional<double> snr_db() const override { return inner_->snr_db(); }

 private:
  void pass(std::vector<float>& out) {
    denoiser_.push(raw_, out);
    raw_.clear();
  }
  std::unique_ptr<Stream> inner_;
  Denoiser denoiser_;
  std::vector<float> raw_;
};

/// A stream whose samples are brought nearer to the mel before they come out.
class RefinedStream : public Stream {
 public:
  RefinedStream(std::unique_ptr<Stream> inner, audio::Refiner refiner, size_t bands, std::shared_ptr<ThreadTeam> spare)
      : inner_(std::move(inner)), refiner_(std::move(refiner)), piece_(kPiece * bands), spare_(std::move(spare)) {}
  void add(std::span<const float> frames, std::vector<float>& out) override {
    if (spare_ && frames.size() > piece_) return add_in_pieces(frames, out);
    refine_last(out);
    inner_->add(frames, raw_);
    last_.assign(frames.begin(), frames.end());
    refine_last(out);
  }
  void finish(std::vector<float>& out) override {
    refine_last(out);
    inner_->finish(raw_);
    refine_last(out);
    refiner_.finish(out);
  }
  std::optional<double> snr_db() const override { return inner_->snr_db(); }

 private:
  static constexpr size_t kPiece = 24;  // frames

  /// While a piece is spoken, the one before it is refined and the next one heard. The last is left for the next call.
  void add_in_pieces(std::span<const float> frames, std::vector<float>& out) {
    const auto piece = [&](size_t at) { return frames.subspan(at).first(std::min(piece_, frames.size() - at)); };
    inner_->hear(piece(0));
    for (size_t at = 0; at < frames.size(); at += piece_) {
      const auto now = piece(at), next = piece(std::min(at + piece_, frames.size()));
      spare_->both([&] { inner_->add(now, next_raw_); },
                   [&] {
                     inner_->hear(next);
                     refine_last(out);
                   });
      raw_.swap(next_raw_);
      last_.assign(now.begin(), now.end());
    }
  }

  void refine_last(std::vector<float>& out) {
    refiner_.push(last_, raw_, out);
    last_.clear();
    raw_.clear();
  }

  std::unique_ptr<Stream> inner_;
  audio::Refiner refiner_;
  size_t piece_;  // numbers
  std::shared_ptr<ThreadTeam> spare_;
  std::vector<float> last_, raw_, next_raw_;  // frames that were spoken and not refined, and their sound
};

}  // namespace

Synthesizer::Synthesizer(Voice voice, std::shared_ptr<const StreamSource> source, const SynthOptions& options)
    : voice_(std::move(voice)),
      sigma_(options.sigma < 0 ? voice_.sigma : options.sigma),
      draws_(options.draws < 1 ? voice_.draws : options.draws),
      denoise_(options.denoise),
      refining_(audio::RefineOptions::of(voice_.mel, options.refine < 0 ? voice_.refine : options.refine)),
      source_(std::move(source)) {
  if (draws_ > 1 && !chooses_draws(voice_.options())) {
    throw Error(Exit::usage, voice_.name + ": no block voice, so it cannot take the best of several draws of noise");
  }
  if (options.latency > 0) keep_to_latency(options.latency);
  if (const auto why = audio::Refiner::why_not(voice_.mel, refining_); refining_.passes > 0 && !why.empty()) {
    throw Error(Exit::usage, voice_.name + ": " + why + "; speak it with --refine 0");
  }
  if (denoise_ > 0) denoiser_bias_ = denoiser_bias(*source_, voice_.mel);
}

void Synthesizer::keep_to_latency(double seconds) {
  const int64_t needed = first_sample_frames(voice_.options());
  const double denoiser = denoise_ > 0 ? static_cast<double>(Denoiser::kFft) / voice_.mel.sample_rate : 0.0;
  const auto frames = static_cast<int64_t>((seconds - denoiser) / frame_seconds() + 1e-9);
  refining_.delay = static_cast<int>(std::min<int64_t>(refining_.delay, frames - needed));
  if (refining_.delay < audio::RefineOptions::least_delay(voice_.mel)) refining_.passes = 0;
  if (frames >= needed) return;
  hurry_ = frames;
  if (frames >= 1 && source_->open_hasty(Noise(0), sigma_, frames)) return;
  const auto milliseconds = [](double s) { return std::to_string(std::llround(std::ceil(1000 * s - 1e-6))); };
  const double exact = static_cast<double>(needed) * frame_seconds() + denoiser, hasty = frame_seconds() + denoiser;
  const bool hurries = source_->open_hasty(Noise(0), sigma_, 1) != nullptr;
  auto message = voice_.name + ": cannot speak " + milliseconds(seconds) +
                 " ms after its mel; the least is --latency " + milliseconds(hurries ? hasty : exact);
  if (hurries) message += ", and " + milliseconds(exact) + " guesses nothing";
  if (denoise_ > 0) message += "; --denoise takes " + milliseconds(denoiser) + " ms of it";
  throw Error(Exit::usage, message);
}

Synthesizer::Synthesizer(const VoiceFile& file, const SynthOptions& options)
    : Synthesizer(file.voice(),
                  packed_source(file.voice().options(), file.tensors(), {options.threads, options.precision}),
                  options) {}

std::unique_ptr<Stream> Synthesizer::open_stream(const Noise& noise) const {
  const auto candidates = noise.best_of(draws_);
  auto stream = hurry_ ? source_->open_hasty(candidates, sigma_, *hurry_) : source_->open(candidates, sigma_);
  if (denoise_ > 0) stream = std::make_unique<DenoisedStream>(std::move(stream), Denoiser(denoiser_bias_, denoise_));
  if (refining_.passes == 0) return stream;
  return std::make_unique<RefinedStream>(std::move(stream), audio::Refiner(voice_.mel, refining_),
                                         static_cast<size_t>(voice_.mel.n_mels), source_->spare_thread());
}

int64_t Synthesizer::first_frames() const {
  const auto options = voice_.options();
  auto frames = hurry_.value_or(first_sample_frames(options));
  if (denoise_ > 0) frames += frames_behind(options, (Denoiser::kFft - 1) / voice_.mel.hop_length);  // a whole window
  if (refining_delay() > 0) frames += frames_behind(options, refining_delay());
  return frames;
}

/// Far enough before sample `start` for everything behind it to be as from the beginning.
int64_t Synthesizer::frame_to_begin_at(int64_t start) const {
  const auto reach = engine::reach(voice_.options());
  if (reach.endless || refining_.passes > 0) return 0;
  const int64_t hop = voice_.mel.hop_length, denoiser = denoise_ > 0 ? Denoiser::kReach : 0;
  const auto frame = (start - denoiser) / hop - reach.history_frames;
  // The denoiser's frames lie on a grid of their own.
  const auto of_denoiser = denoise_ > 0 ? std::lcm(hop, Denoiser::kHop) / hop : 1;
  const auto step = std::lcm(of_denoiser, hurry_ ? hasty_chunk(*hurry_) : 1);  // and so do the chunks of who hurries
  return std::max<int64_t>(0, frame) / step * step;
}

std::optional<double> Synthesizer::run(const files::MelFrames& mel, const Noise& noise, const Sink& sink,
                                       int64_t start) const {
  const auto first = static_cast<int>(std::min<int64_t>(frame_to_begin_at(start), mel.frames()));
  const auto stream = open_stream(noise.from(first * (voice_.mel.hop_length / group_size(voice_.options()))));
  auto dropped = static_cast<size_t>(start - static_cast<int64_t>(first) * voice_.mel.hop_length);
  std::vector<float> frames, piece;
  const auto give = [&] {
    const auto before = std::min(dropped, piece.size());
    dropped -= before;
    if (piece.size() > before) sink(std::span(piece).subspan(before));
    piece.clear();
  };
  for (int t = first, count = 0; t < mel.frames(); t += count) {
    count = std::min(source_->frames_at_once(t - first), mel.frames() - t);
    frames.clear();
    mel.append(t, count, frames);
    stream->add(frames, piece);
    give();
  }
  stream->finish(piece);
  give();
  return stream->snr_db();
}

audio::Waveform Synthesizer::operator()(const audio::Mel& mel, const Noise& noise) const {
  audio::Waveform out{{}, voice_.mel.sample_rate};
  out.samples.reserve(static_cast<size_t>(mel.frames) * static_cast<size_t>(voice_.mel.hop_length));
  run(mel, noise,
      [&](std::span<const float> piece) { out.samples.insert(out.samples.end(), piece.begin(), piece.end()); });
  return out;
}

files::NpyArray Synthesizer::noise_for(const files::MelFrames& mel, const Noise& noise) const {
  const auto options = voice_.options();
  const auto channels = group_size(options), groups = mel.frames() * (hop_length(options) / channels);
  const int64_t draws = noise.best_of(draws_).draws();
  const auto taken = noise.taken();
  if (draws > 1 && taken.size() < static_cast<size_t>(groups)) {
    throw Error(Exit::internal, "noise_for: which draws were taken is not known before a run");
  }
  std::vector<float> drawn(static_cast<size_t>(draws * channels));
  files::NpyArray out{{channels, groups}, std::vector<float>(static_cast<size_t>(channels * groups))};
  for (int64_t g = 0; g < groups; ++g) {
    noise.fill(draws * channels, g, 1, drawn);
    const int64_t first = draws > 1 ? taken[static_cast<size_t>(g)] * channels : 0;
    for (int64_t c = 0; c < channels; ++c) {
      out.values[static_cast<size_t>(c * groups + g)] = drawn[static_cast<size_t>(first + c)];
    }
  }
  return out;
}

}  // namespace melflow::engine
