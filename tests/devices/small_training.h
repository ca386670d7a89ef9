#pragma once

#include <cmath>
#include <filesystem>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "audio/sound_file.h"
#include "engine/noise.h"
#include "engine/train/trainer.h"
#include "tests/devices/places.h"
#include "tests/engine/reference.h"

namespace melflow::testing {

inline engine::TrainConfig small_training(const nlohmann::json& model) {
  // With a large epsilon a step is as smooth as its gradient: the last digits of one stay the last of the other.
  return engine::parse_train_config(
      {{"model", model}},
      {"steps=4", "batch_size=2", "segment_frames=8", "warmup_steps=0", "hold_out_every=2", "validation_every=4",
       "checkpoint_every=4", "sample_every=4", "epsilon=0.1", "learning_rate=1e-2", "data_workers=1"},
      "test");
}

/// One short recording to learn from, one kept out: in the folder, which is made where it is not there yet.
inline std::shared_ptr<engine::Corpus> small_corpus(const std::filesystem::path& folder,
                                                    const engine::TrainConfig& config) {
  if (!std::filesystem::exists(folder)) {
    std::filesystem::create_directories(folder);
    for (const auto& [name, pitch] : {std::pair{"a.wav", 140.0}, {"b.wav", 190.0}}) {
      audio::Waveform sound{{}, 22050};
      for (int64_t i = 0; i < 8192; ++i) {
        double x = 0.01 * engine::normal_at(5, 0, i);
        for (int h = 1; h < 8; ++h) x += 0.1 / h * std::sin(2 * M_PI * pitch * h * static_cast<double>(i) / 22050);
        sound.samples.push_back(static_cast<float>(x));
      }
      audio::write_audio(folder / name, sound, audio::Encoding::pcm16, AtomicFile::Existing::refuse);
    }
  }
  return engine::load_corpus({folder}, config, [](const std::string& line) { ADD_FAILURE() << line; });
}

template <typename SomeTrainer>
void train(SomeTrainer& trainer, int64_t steps) {
  int64_t left = steps + 1;  // asked before each step, and once more
  trainer.run([&] { return --left == 0; }, [](const engine::Progress&) {});
}

/// Of two files that trainings wrote.
inline void expect_same_weights(const std::filesystem::path& actual, const std::filesystem::path& expected) {
  const auto a = tensors_of(actual), e = tensors_of(expected);
  ASSERT_EQ(a.size(), e.size());
  for (const auto& [name, tensor] : e) EXPECT_LT(difference(a.at(name), tensor), 2e-5) << name;
}

}  // namespace melflow::testing
