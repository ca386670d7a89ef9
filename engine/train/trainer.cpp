#include "engine/train/trainer.h"

#include <chrono>
#include <cmath>
#include <fstream>
#include <limits>

#include <torch/torch.h>

#include "audio/error.h"
#include "audio/wav.h"
#include "engine/build_info.h"
#include "engine/files/picture.h"
#include "engine/model_config.h"
#include "engine/synth/synthesizer.h"
#include "engine/tensors.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Held-out recordings that a validation listens to: enough for a stable mean, few enough to be quick.
constexpr size_t kValidationClips = 32;
constexpr size_t kSampleClips = 2;

void write_text(const fs::path& path, const std::string& text) {
  AtomicFile file(path, AtomicFile::Existing::replace);
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

std::shared_ptr<models::Vocoder> new_model(const TrainConfig& config) {
  auto model = build_vocoder(config.model, "the configuration");
  const auto bank = audio::mel_filterbank(config.mel);
  model->set_filterbank(torch::tensor(at::ArrayRef<double>(bank), torch::kFloat64).view({config.mel.n_mels, -1}));
  return model;
}

/// Copies of all parameters, by name.
std::map<std::string, torch::Tensor> snapshot(const models::Vocoder& model) {
  std::map<std::string, torch::Tensor> out;
  for (const auto& p : model.named_parameters()) out[p.key()] = p.value().detach().clone();
  return out;
}

}  // namespace

torch::Tensor nats_by_group(const models::Mapped& mapped, int64_t group_size) {
  return (mapped.value.square().sum(1) / 2 - mapped.local) / static_cast<double>(group_size);
}

Trainer::Trainer(const TrainConfig& config, Corpus corpus, fs::path run, bool resume)
    : config_(config), corpus_(std::move(corpus)), run_(std::move(run)) {
  std::error_code error;
  if (!resume && fs::exists(run_ / "checkpoints", error)) {
    throw Error(Exit::cannot_create,
                run_.string() + ": holds a run already; go on with --resume, or name another folder");
  }
  fs::create_directories(run_ / "samples", error);
  if (error) throw Error(Exit::cannot_create, run_.string() + ": cannot be made (" + error.message() + ")");
  torch::manual_seed(static_cast<uint64_t>(config_.seed));
  model_ = new_model(config_);
  adam_ = std::make_unique<torch::optim::Adam>(
      model_->parameters(),
      torch::optim::AdamOptions(config_.learning_rate).betas({config_.beta1, config_.beta2}).eps(config_.epsilon));
  if (config_.ema > 0) average_ = snapshot(*model_);
  if (const auto state = load_checkpoint(run_, *model_, average_, *adam_)) state_ = *state;
  write_text(run_ / "config.json", to_json(config_).dump(2) + "\n");
}

void Trainer::start_from(const Voice& voice) {
  if (state_.step > 0) return;
  const auto differs = [&](const std::string& what) {
    return Error(Exit::config, voice.name + ": cannot be the start of this training: " + what +
                                   "; change the configuration, or take another voice");
  };
  const auto difference = audio::first_difference(voice.mel, config_.mel);
  if (!difference.empty()) throw differs("its mel recipe is another: " + difference);
  torch::NoGradGuard no_grad;
  const auto theirs = voice.model->named_parameters();
  for (const auto& p : model_->named_parameters()) {
    const auto* weight = theirs.find(p.key());
    if (weight == nullptr || weight->sizes() != p.value().sizes()) throw differs("its model is another, at " + p.key());
    p.value().copy_(*weight);
  }
  if (!average_.empty()) average_ = snapshot(*model_);
}

double Trainer::learning_rate() const {
  const auto step = static_cast<double>(state_.step), steps = static_cast<double>(config_.steps);
  const auto warmup = static_cast<double>(config_.warmup_steps);
  if (step < warmup) return config_.learning_rate * (step + 1) / warmup;
  const double decay = config_.decay_steps > 0 ? static_cast<double>(config_.decay_steps) : steps - warmup;
  const double left = std::clamp((steps - step) / std::max(decay, 1.0), 0.0, 1.0);
  return config_.final_learning_rate + (config_.learning_rate - config_.final_learning_rate) * left;
}

double Trainer::train_step() {
  model_->train();
  for (auto& group : adam_->param_groups()) {
    static_cast<torch::optim::AdamOptions&>(group.options()).lr(learning_rate());
  }
  // What the model itself draws is a function of the step too, so that a resumed run goes on exactly.
  torch::manual_seed(static_cast<uint64_t>(config_.seed) * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(state_.step));
  const auto batch =
      training_batch(corpus_, config_, model_->warmup_frames(), model_->reach().lookahead_frames, state_.step);
  const auto nats = nats_by_group(model_->forward(batch.x, batch.mel), model_->group_size());
  const auto warmup = model_->warmup_frames() * model_->hop_length() / model_->group_size();
  const auto loss = nats.slice(1, warmup).mean();
  adam_->zero_grad();
  loss.backward();
  const double limit = config_.gradient_clip > 0 ? config_.gradient_clip : std::numeric_limits<double>::infinity();
  const double norm = torch::nn::utils::clip_grad_norm_(model_->parameters(), limit);
  ++state_.step;
  const double value = loss.item<double>();
  if (!std::isfinite(value) || !std::isfinite(norm)) {
    ++state_.skipped_steps;
    if (++bad_in_a_row_ >= config_.bad_steps_in_a_row) {
      throw Error(Exit::bad_data, run_.string() + ": " + std::to_string(bad_in_a_row_) +
                                      " steps in a row were not finite; lower the learning rate, then --resume");
    }
    return std::numeric_limits<double>::quiet_NaN();
  }
  bad_in_a_row_ = 0;
  adam_->step();
  update_average();
  return value;
}

void Trainer::update_average() {
  if (average_.empty()) return;
  torch::NoGradGuard no_grad;
  // Short at first, so that the average does not remember the random start.
  const double decay =
      std::min(config_.ema, (1.0 + static_cast<double>(state_.step)) / (10.0 + static_cast<double>(state_.step)));
  for (const auto& p : model_->named_parameters()) average_[p.key()].lerp_(p.value(), 1 - decay);
}

Voice Trainer::averaged_voice() {
  Voice voice{.name = (run_ / "voice.safetensors").string(),
              .model_config = config_.model,
              .mel = config_.mel,
              .level = config_.level,
              .sigma = config_.sigma,
              .card = {{"name", config_.name},
                       {"licence", config_.licence},
                       {"training_data", config_.training_data},
                       {"training_steps", std::to_string(state_.step)},
                       {"training_seconds", std::to_string(static_cast<int64_t>(state_.seconds))},
                       {"commit", commit()}},
              .model = new_model(config_)};
  torch::NoGradGuard no_grad;
  for (const auto& p : voice.model->named_parameters()) {
    p.value().copy_(average_.empty() ? model_->named_parameters()[p.key()] : average_[p.key()]);
  }
  voice.model->eval();
  return voice;
}

double Trainer::validate() {
  torch::NoGradGuard no_grad;
  const auto voice = averaged_voice();
  double sum = 0, count = 0;
  const size_t every = std::max<size_t>(1, corpus_.held_out.size() / kValidationClips);
  for (size_t i = 0; i < corpus_.held_out.size(); i += every) {
    const auto batch = whole_clip(corpus_.held_out[i], corpus_, config_);
    const auto nats = nats_by_group(voice.model->forward(batch.x, batch.mel), voice.model->group_size());
    sum += nats.sum().item<double>();
    count += static_cast<double>(nats.numel());
  }
  return count > 0 ? sum / count + kHalfLog2Pi : std::numeric_limits<double>::quiet_NaN();
}

void Trainer::save() {
  save_checkpoint(run_, state_, *model_, average_, *adam_, config_.keep_checkpoints);
  save_voice(run_ / "voice.safetensors", averaged_voice(), AtomicFile::Existing::replace);
}

void Trainer::write_samples(RunLog& log) {
  Synthesizer synthesizer(averaged_voice(), {.sigma = config_.sigma});
  audio::MelExtractor extractor(config_.mel);
  for (size_t i = 0; i < std::min(kSampleClips, corpus_.held_out.size()); ++i) {
    const auto& clip = corpus_.held_out[i * corpus_.held_out.size() / kSampleClips];
    audio::Mel mel{config_.mel.n_mels, static_cast<int>(clip.mel.size(1)), tensor_vector(clip.mel), config_.mel};
    const auto sound = synthesizer(mel, Noise(static_cast<uint64_t>(config_.seed)));
    const auto name = "step-" + std::to_string(state_.step) + "-" + clip.path.stem().string();
    audio::write_audio(run_ / "samples" / (name + ".wav"), sound, audio::Encoding::pcm16,
                       AtomicFile::Existing::replace);
    log.audio(state_.step, "held_out/" + std::to_string(i), sound);
    const bool finite =
        std::all_of(sound.samples.begin(), sound.samples.end(), [](float s) { return std::isfinite(s); });
    if (!finite) continue;
    const auto picture = files::spectrogram_pair(mel, extractor(sound));
    files::write_png(run_ / "samples" / (name + ".png"), picture, AtomicFile::Existing::replace);
    log.image(state_.step, "held_out/" + std::to_string(i), picture);
  }
}

void Trainer::run(const std::function<bool()>& stop, const std::function<void(const Progress&)>& report) {
  RunLog log(run_, state_.step);
  const auto due = [&](int64_t every) {
    return every > 0 && (state_.step % every == 0 || state_.step == config_.steps);
  };
  const double crop = static_cast<double>(config_.batch_size * config_.segment_frames * config_.mel.hop_length);
  auto last = Clock::now();
  double loss = 0, finite = 0, steps = 0;
  bool saved = false;
  while (state_.step < config_.steps && !stop()) {
    const auto begin = Clock::now();
    const double value = train_step();
    state_.seconds += seconds_since(begin);
    saved = false;
    ++steps;
    if (std::isfinite(value)) {
      loss += value;
      ++finite;
    }
    if (const double elapsed = seconds_since(last); elapsed >= 1 || state_.step == config_.steps) {
      const double mean = finite > 0 ? loss / finite : std::numeric_limits<double>::quiet_NaN();
      report({state_.step, config_.steps, mean, steps * crop / elapsed,
              static_cast<double>(config_.steps - state_.step) * elapsed / steps});
      log.scalars(state_.step, {{"loss", mean},
                                {"learning_rate", learning_rate()},
                                {"samples_per_second", steps * crop / elapsed},
                                {"skipped_steps", static_cast<double>(state_.skipped_steps)}});
      last = Clock::now();
      loss = finite = steps = 0;
    }
    if (due(config_.validation_every)) log.scalars(state_.step, {{"validation_nats_per_sample", validate()}});
    if (due(config_.sample_every)) write_samples(log);
    if (due(config_.checkpoint_every)) {
      save();
      log.flush();
      saved = true;
    }
  }
  if (!saved) save();
  log.flush();
}

}  // namespace melflow::engine
