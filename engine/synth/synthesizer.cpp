#include "engine/synth/synthesizer.h"

#include <torch/torch.h>

#include "engine/synth/denoiser.h"

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

 private:
  void pass(std::vector<float>& out) {
    denoiser_.push(raw_, out);
    raw_.clear();
  }
  std::unique_ptr<Stream> inner_;
  Denoiser denoiser_;
  std::vector<float> raw_;
};

}  // namespace

Synthesizer::Synthesizer(Voice voice, const SynthOptions& options)
    : voice_(std::move(voice)), sigma_(options.sigma < 0 ? voice_.sigma : options.sigma), denoise_(options.denoise) {
  voice_.model->to(options.device);
  source_ = std::make_unique<StreamSource>(voice_.model, options.precision);
  if (denoise_ > 0) denoiser_bias_ = denoiser_bias(*source_, *voice_.model);
}

std::unique_ptr<Stream> Synthesizer::open_stream(const Noise& noise) const {
  auto stream = source_->open(noise, sigma_);
  if (denoise_ <= 0) return stream;
  return std::make_unique<DenoisedStream>(std::move(stream), Denoiser(denoiser_bias_, denoise_));
}

void Synthesizer::run(const audio::Mel& mel, const Noise& noise, const Sink& sink) {
  const auto stream = open_stream(noise);
  std::vector<float> frame(static_cast<size_t>(mel.n_mels)), piece;
  for (int t = 0; t < mel.frames; ++t) {
    for (int m = 0; m < mel.n_mels; ++m) {
      frame[static_cast<size_t>(m)] =
          mel.values[static_cast<size_t>(m) * static_cast<size_t>(mel.frames) + static_cast<size_t>(t)];
    }
    stream->add(frame, piece);
    if (!piece.empty()) sink(piece);
    piece.clear();
  }
  stream->finish(piece);
  if (!piece.empty()) sink(piece);
}

audio::Waveform Synthesizer::operator()(const audio::Mel& mel, const Noise& noise) {
  audio::Waveform out{{}, voice_.mel.sample_rate};
  out.samples.reserve(static_cast<size_t>(mel.frames) * static_cast<size_t>(voice_.mel.hop_length));
  run(mel, noise,
      [&](std::span<const float> piece) { out.samples.insert(out.samples.end(), piece.begin(), piece.end()); });
  return out;
}

torch::Tensor Synthesizer::noise_for(const audio::Mel& mel, const Noise& noise) const {
  const auto& model = *voice_.model;
  return noise.slice(model.group_size(), 0, mel.frames * (model.hop_length() / model.group_size()))[0];
}

}  // namespace melflow::engine
