#pragma once

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "audio/sound_file.h"
#include "engine/noise.h"
#include "engine/train/trainer.h"
#include "tests/engine/reference.h"
#include "tests/files/bytes.h"

namespace melflow::engine {

/// A voiced sound: harmonics of 150 Hz with a slow swell, and a little noise.
inline audio::Waveform tone(double seconds, int rate = 22050) {
  audio::Waveform out{{}, rate};
  const auto n = static_cast<int64_t>(seconds * rate);
  for (int64_t i = 0; i < n; ++i) {
    const double t = static_cast<double>(i) / rate;
    double x = 0.002 * normal_at(5, 0, i);
    for (int h = 1; h < 8; ++h) x += 0.05 / h * std::sin(2 * M_PI * 150 * h * t);
    out.samples.push_back(static_cast<float>(x * (0.6 + 0.4 * std::sin(2 * M_PI * 3 * t))));
  }
  return out;
}

inline void write(const std::filesystem::path& path, const audio::Waveform& sound) {
  audio::write_audio(path, sound, audio::Encoding::pcm16, AtomicFile::Existing::refuse);
}

inline TrainConfig small_config(const std::vector<std::string>& more = {}) {
  std::vector<std::string> sets{"steps=12",           "batch_size=2",     "segment_frames=8",
                                "warmup_steps=2",     "hold_out_every=3", "validation_every=6",
                                "checkpoint_every=6", "sample_every=12",  "learning_rate=1e-3"};
  sets.insert(sets.end(), more.begin(), more.end());
  const nlohmann::json model{{"system", "waveglow"}, {"n_flows", 2},          {"group_size", 16},
                             {"wavenet_layers", 2},  {"wavenet_channels", 8}, {"conditioning", "frame_rate"},
                             {"context_channels", 8}};
  return parse_train_config({{"model", model}}, sets, "test");
}

class TrainTest : public ::testing::Test {
 protected:
  void SetUp() override {
    torch::set_num_threads(1);
    std::filesystem::create_directories(data());
    for (const char* name : {"a.wav", "b.wav", "c.flac", "d.wav"}) write(data() / name, tone(0.9));
  }
  std::filesystem::path data() const { return folder_ / "data"; }
  std::filesystem::path run(const std::string& name) const { return folder_ / name; }
  std::shared_ptr<Corpus> corpus(const TrainConfig& config) const {
    return load_corpus({data()}, config, [](const std::string& line) { ADD_FAILURE() << line; });
  }

  static void train(Trainer& trainer, int64_t until = std::numeric_limits<int64_t>::max()) {
    trainer.run([&] { return trainer.step() >= until; }, [](const Progress&) {});
  }

 private:
  melflow::testing::TempDir folder_;
};

/// The curves of a run without what a clock says, a line each.
inline std::vector<std::string> curves(const std::filesystem::path& run) {
  std::vector<std::string> out;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    auto json = nlohmann::json::parse(line);
    json.erase("samples_per_second");
    json.erase("data_wait");
    out.push_back(json.dump());
  }
  return out;
}

/// The last value of a curve.
inline double last_of(const std::filesystem::path& run, const std::string& tag) {
  const auto points = testing::curve(run, tag);
  return points.empty() ? std::numeric_limits<double>::quiet_NaN() : points.back();
}

}  // namespace melflow::engine
