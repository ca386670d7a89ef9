#include "engine/synth/tiled_stream.h"

#include <algorithm>

#include <torch/torch.h>

#include "engine/tensors.h"

namespace melflow::engine {

TiledStream::TiledStream(std::shared_ptr<models::Vocoder> model, Noise noise, double sigma)
    : model_(std::move(model)), noise_(std::move(noise)), sigma_(sigma) {}

void TiledStream::add(std::span<const float> frames, std::vector<float>& out) {
  const auto bands = static_cast<size_t>(model_->n_mels());
  TORCH_CHECK(frames.size() % bands == 0, "TiledStream: ", frames.size(), " values are no whole frames of ", bands);
  // A tile's worth at a time, so that a long mel handed over at once takes no more memory than a live one.
  const size_t block = static_cast<size_t>(kTileFrames) * bands;
  for (size_t at = 0; at < frames.size(); at += block) {
    const auto part = frames.subspan(at, std::min(block, frames.size() - at));
    frames_.insert(frames_.end(), part.begin(), part.end());
    count_ += static_cast<int64_t>(part.size() / bands);
    while (count_ >= done_ + kTileFrames + model_->reach().lookahead_frames) compute_tile(done_ + kTileFrames, out);
  }
}

void TiledStream::finish(std::vector<float>& out) {
  while (done_ < count_) compute_tile(std::min(done_ + kTileFrames, count_), out);
}

void TiledStream::compute_tile(int64_t end, std::vector<float>& out) {
  torch::InferenceMode guard;
  const auto reach = model_->reach();
  const auto bands = model_->n_mels(), hop = model_->hop_length(), groups = hop / model_->group_size();
  const auto device = model_->parameters().front().device();
  const auto first = std::max<int64_t>(first_, done_ - reach.history_frames);
  const auto last = std::min(count_, end + reach.lookahead_frames);
  const auto here = std::span(frames_).subspan(static_cast<size_t>((first - first_) * bands),
                                               static_cast<size_t>((last - first) * bands));
  const auto mel = vector_tensor(here).view({1, last - first, bands}).transpose(1, 2).contiguous();
  const auto z = noise_tensor(noise_, model_->group_size(), first * groups, (last - first) * groups) * sigma_;
  const auto x = model_->inverse(z.to(device), mel.to(device)).value[0];
  const auto samples = tensor_vector(x.narrow(0, (done_ - first) * hop, (end - done_) * hop));
  out.insert(out.end(), samples.begin(), samples.end());

  done_ = end;
  const auto keep_from = std::max<int64_t>(first_, done_ - reach.history_frames);
  frames_.erase(frames_.begin(), frames_.begin() + (keep_from - first_) * bands);
  first_ = keep_from;
}

}  // namespace melflow::engine
