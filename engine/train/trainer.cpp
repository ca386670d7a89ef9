#include "engine/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <span>

#include <torch/torch.h>

#include "audio/quality.h"
#include "audio/sound_file.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "engine/build_info.h"
#include "engine/files/crc32c.h"
#include "engine/files/picture.h"
#include "engine/model_config.h"
#include "engine/tensors.h"
#include "models/autocast.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSampleClips = 2;

std::shared_ptr<models::Vocoder> new_model(const TrainConfig& config) {
  auto model = build_vocoder(config.model, "the configuration");
  const auto bank = audio::mel_filterbank(config.mel);
  model->set_filterbank(torch::tensor(at::ArrayRef<double>(bank), torch::kFloat64).view({config.mel.n_mels, -1}));
  return model;
}

/// A run goes on with the recipe that it began with, which is the one that its model speaks.
void require_recipe_of(const fs::path& run, const TrainConfig& config) {
  const auto before = stored_config(run);
  if (before.is_null()) return;
  const auto told = config_path(run).string();
  const auto difference = audio::first_difference(parse_train_config(before, {}, told).mel, config.mel);
  if (difference.empty()) return;
  throw Error(Exit::config, told + ": mel." + difference +
                                ", in the run that is to go on; leave it so, or begin a new run with --init");
}

/// "folder/a.wav", or "shard.tar: 'folder/a.wav'" → "a", cut to what a file's name has room for.
std::string stem_of(const std::string& name) {
  constexpr size_t kRoom = 160;
  const auto member = name.rfind(": '");
  const bool of_shard = name.ends_with('\'') && member != std::string::npos;
  const auto stem = fs::path(of_shard ? name.substr(member + 3, name.size() - member - 4) : name).stem().string();
  size_t end = std::min(stem.size(), kRoom);
  while (end < stem.size() && end > 0 && (static_cast<unsigned char>(stem[end]) & 0xC0) == 0x80) --end;  // UTF-8
  return stem.substr(0, end);
}

}  // namespace

Trainer::Trainer(const TrainConfig& config, std::shared_ptr<Corpus> corpus, fs::path run, bool resume,
                 Processes* processes, torch::Device device)
    : config_(config), corpus_(std::move(corpus)), run_(std::move(run)), device_(device) {
  if (processes != nullptr) {
    rank_ = processes->rank();
    ranks_ = processes->size();
    auto shared = to_json(config_);
    for (const char* own : {"data_workers", "name", "licence", "training_data"}) shared["train"].erase(own);
    const auto told = shared.dump();
    processes->require_same(files::crc32c(std::as_bytes(std::span(told))),
                            run_.string() +
                                ": the processes have different configurations; give all of them the same "
                                "--config and --set");
    if (ranks_ > config_.batch_size) {
      throw Error(Exit::config, "train.batch_size is " + std::to_string(config_.batch_size) + ", of all " +
                                    std::to_string(ranks_) + " processes together; each needs a crop");
    }
  }
  if (rank_ == 0) {
    folder_ = RunFolder(run_, resume);
    std::error_code told_when_one_is_written;
    fs::create_directories(run_ / "samples", told_when_one_is_written);
  }
  if (resume) require_recipe_of(run_, config_);
  torch::manual_seed(static_cast<uint64_t>(config_.seed));
  model_ = new_model(config_);
  if (config_.reversible && !model_->set_reversible(true)) {
    throw Error(Exit::config, "train.reversible: a " + config_.model.at("system").get<std::string>() +
                                  " is a single flow and keeps one flow's activations anyway; leave it out");
  }
  model_->to(device_);
  feed_ = training_feed(corpus_, config_, model_->warmup_frames(), model_->reach().lookahead_frames, rank_, ranks_);
  loop_ = std::make_unique<TrainingLoop>(config_, static_cast<Objective&>(*this), run_, processes);
}

void Trainer::start_from(const ModelVoice& voice) {
  if (step() > 0) return;
  const auto differs = [&](const std::string& what) {
    return Error(Exit::config, voice.name + ": cannot be the start of this training: " + what +
                                   "; change the configuration, or take another voice");
  };
  const auto difference = audio::first_difference(voice.mel, config_.mel);
  if (!difference.empty()) throw differs("its mel recipe is another: " + difference);
  try {
    model_->start_from(*voice.model);
  } catch (const std::invalid_argument& e) {
    throw differs(e.what());
  }
  loop_->restart_average();
}

torch::Tensor Trainer::loss(int64_t batch) {
  const auto data = batch_of(feed_->take(batch)).to(device_);
  const models::Autocast precision(data.x.device().type(), {.on = config_.precision == TrainPrecision::bf16});
  model_->seed_training_noise(data.seeds);
  const auto nats = nats_by_group(model_->forward(data.x, data.mel), model_->group_size());
  const auto warmup = model_->warmup_frames() * model_->hop_length() / model_->group_size();
  // The mean over all processes of this is the mean over all crops, however they were shared out.
  const double share = static_cast<double>(data.x.size(0) * ranks_) / static_cast<double>(config_.batch_size);
  return nats.slice(1, warmup).mean() * share;
}

double Trainer::items_per_batch() const {
  return static_cast<double>(config_.batch_size * config_.segment_frames * config_.mel.hop_length);
}

ModelVoice Trainer::averaged_voice(const Weights& average, const TrainState& state) {
  ModelVoice voice{{.name = (run_ / "voice.safetensors").string(),
                    .model_config = config_.model,
                    .mel = config_.mel,
                    .level = config_.level,
                    .sigma = config_.sigma,
                    .draws = config_.draws,
                    .refine = config_.refine,
                    .card = {{"name", config_.name},
                             {"licence", config_.licence},
                             {"training_data", config_.training_data},
                             {"training_steps", std::to_string(state.step)},
                             {"training_seconds", std::to_string(static_cast<int64_t>(state.seconds))},
                             {"commit", commit()}}},
                   new_model(config_)};
  torch::NoGradGuard no_grad;
  const auto raw = model_->named_parameters();
  for (const auto& p : voice.model->named_parameters()) {
    p.value().copy_(average.empty() ? raw[p.key()] : average.at(p.key()));
  }
  voice.model->eval();
  return voice;
}

double Trainer::validate() {
  return *validate(loop_->average(), [] { return false; });
}

std::optional<double> Trainer::validate(const Weights& average, const Stop& stop) {
  torch::NoGradGuard no_grad;
  const auto voice = averaged_voice(average, loop_->state());
  voice.model->to(device_);
  double sum = 0, count = 0;
  for (const auto& clip : corpus_->held_out()) {
    if (stop()) return {};
    const auto batch = whole_clip(*clip, *corpus_).to(device_);
    const auto nats = nats_by_group(voice.model->forward(batch.x, batch.mel), voice.model->group_size());
    sum += nats.sum().item<double>();
    count += static_cast<double>(nats.numel());
  }
  return count > 0 ? sum / count + kHalfLog2Pi : std::numeric_limits<double>::quiet_NaN();
}

void Trainer::write_result(const TrainState& state, const Weights& average) {
  save_voice(run_ / "voice.safetensors", averaged_voice(average, state), AtomicFile::Existing::replace);
}

std::vector<std::pair<std::string, double>> Trainer::curves() {
  if (corpus_->held_out().empty()) return {};
  const auto batch = whole_clip(*corpus_->held_out().front(), *corpus_).to(device_);
  model_->eval();
  auto points = model_->volumes(batch.x, batch.mel);
  for (auto& [name, value] : points) name = "log_det/" + name;
  return points;
}

void Trainer::write_samples(RunLog& log, int64_t step, const Weights& average) {
  const auto voice = averaged_voice(average, loop_->state());
  voice.model->to(device_);
  auto synthesizer = synthesizer_of(voice, {});
  audio::MelExtractor extractor(config_.mel);
  const auto& held_out = corpus_->held_out();
  std::set<std::string> names;
  const auto count = std::min(kSampleClips, held_out.size());
  for (size_t i = 0; i < count; ++i) {
    const auto& clip = *held_out[i * held_out.size() / count];
    const auto true_mel = whole_clip(clip, *corpus_).mel;
    audio::Mel mel{config_.mel.n_mels, static_cast<int>(true_mel.size(2)), tensor_vector(true_mel), config_.mel};
    const auto sound = synthesizer(mel, Noise(static_cast<uint64_t>(config_.seed)));
    // The steps that follow are not finite either, and end the training with a word.
    if (!std::ranges::all_of(sound.samples, [](float s) { return std::isfinite(s); })) continue;
    auto name = "step-" + std::to_string(step) + "-" + stem_of(clip.name);
    if (!names.insert(name).second) name += "-" + std::to_string(i);  // of another folder
    audio::write_audio(run_ / "samples" / (name + ".wav"), sound, audio::Encoding::pcm16,
                       AtomicFile::Existing::replace);
    log.audio(step, "held_out/" + std::to_string(i), sound);
    const auto hum = audio::hum_db(sound.samples, static_cast<int>(std::max<int64_t>(model_->group_size(), 2)));
    log.scalars(step, {{"hum_db/" + std::to_string(i), hum}});
    const auto picture = files::spectrogram_pair(mel, extractor(sound));
    files::write_png(run_ / "samples" / (name + ".png"), picture, AtomicFile::Existing::replace);
    log.image(step, "held_out/" + std::to_string(i), picture);
  }
}

void Trainer::run(const Stop& stop, const std::function<void(const Progress&)>& report) {
  if (rank_ == 0) store_config(run_, to_json(config_));
  loop_->run(stop, report);
}

}  // namespace melflow::engine
