// The GPU's kernels on NVIDIA's own small model, against the audio that NVIDIA's own code made of it in float64.

#include "engine/files/checkpoint_file.h"
#include "engine/files/npy.h"
#include "engine/files/published_waveglow.h"
#include "engine/gpu/session.h"
#include "engine/gpu/speak.h"
#include "engine/synth/gpu_stream.h"
#include "tests/gpu/gpu_test.h"
#include "tests/support/shared.h"

namespace melflow::gpu {
namespace {

using melflow::testing::shared;

PlainWaveGlow plain_model(const std::filesystem::path& path) {
  const files::CheckpointFile file(path);
  const auto published = files::read_published_waveglow(file.content(), path.string());
  return engine::plain_waveglow(engine::waveglow_options(published), published.tensors);
}

/// [rows, time] → [time, rows].
std::vector<float> transposed(const std::vector<float>& values, size_t rows) {
  std::vector<float> out(values.size());
  const size_t time = values.size() / rows;
  for (size_t i = 0; i < values.size(); ++i) out[i % time * rows + i / time] = values[i];
  return out;
}

/// Mel, and noise times sigma; the reference draws the last channels first, our rows end with them.
Utterance reference_utterance(const std::filesystem::path& folder, float sigma) {
  const auto mel = files::read_npy(folder / "mel.npy");
  Utterance out{static_cast<int>(mel.shape.back()),
                transposed(mel.values, static_cast<size_t>(mel.shape[mel.shape.size() - 2])),
                {}};
  std::vector<float> rows;
  for (const char* name : {"z_2.npy", "z_1.npy", "z_0.npy"}) {
    for (const float z : files::read_npy(folder / name).values) rows.push_back(sigma * z);
  }
  out.z = transposed(rows, 8);
  return out;
}

class Reference : public ::testing::TestWithParam<Place> {};

TEST_P(Reference, TheTinyModelSpeaksWithin40dBOfNvidiasFloat64) {
  REQUIRE_SHARED("reference/waveglow/tiny");
  OPEN_OR_SKIP(device, GetParam());
  const auto folder = shared("reference/waveglow/tiny");
  const auto model = std::make_shared<DeviceWaveGlow>(device, plain_model(folder / "state_dict.safetensors"));
  const auto expected = files::read_npy(folder / "audio_expected.npy").values;
  const auto u = reference_utterance(folder, 0.8f);  // sigma of its config.json
  EXPECT_GT(snr_db(speak(model, {u}, {u.frames})[0], {expected.begin(), expected.end()}), 40);
}

INSTANTIATE_TEST_SUITE_P(All, Reference, ::testing::Values(kEmulated, kCuda), ::testing::PrintToStringParamName());

/// The yardstick of the other tests is itself NVIDIA's.
TEST(PlainWaveGlow, IsNvidiasInverse) {
  REQUIRE_SHARED("reference/waveglow/tiny");
  const auto folder = shared("reference/waveglow/tiny");
  const auto expected = files::read_npy(folder / "audio_expected.npy").values;
  const auto u = reference_utterance(folder, 0.8f);
  const auto audio = plain_model(folder / "state_dict.safetensors").inverse(u.mel, u.z, 2);
  ASSERT_EQ(audio.size(), expected.size());
  for (size_t i = 0; i < audio.size(); ++i) ASSERT_NEAR(audio[i], expected[i], 1e-5) << i;
}

}  // namespace
}  // namespace melflow::gpu
