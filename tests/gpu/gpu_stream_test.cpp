#include "engine/synth/gpu_stream.h"

#include "engine/gpu/speak.h"
#include "tests/gpu/gpu_test.h"
#include "tests/synth/random_voice.h"

namespace melflow::engine {
namespace {

using melflow::testing::frames_of;
using melflow::testing::random_mel;
using melflow::testing::RandomVoice;
using melflow::testing::tiny_waveglow;

class GpuStreams : public ::testing::TestWithParam<gpu::Place> {};

TEST_P(GpuStreams, SpeakAsTheCpuDoesHoweverTheFramesArrive) {
  OPEN_OR_SKIP(device, GetParam());
  const RandomVoice voice(tiny_waveglow());
  const auto mel = random_mel(4, 50);
  const SynthOptions settings{.sigma = 0.8, .threads = 1};
  const auto cpu = voice.synthesizer(settings)(mel, Noise(3)).samples;
  const auto source = gpu_source(device, voice.options, voice.views);
  const auto whole = Synthesizer(voice.voice, source, settings)(mel, Noise(3)).samples;
  EXPECT_GT(gpu::snr_db(whole, {cpu.begin(), cpu.end()}), 40);

  const auto frames = frames_of(mel);
  for (const size_t chunk : {1, 9}) {
    const auto stream = source->open(Noise(3), 0.8);
    std::vector<float> out;
    for (size_t at = 0; at < frames.size(); at += 4 * chunk) {
      stream->add(std::span(frames).subspan(at, std::min(4 * chunk, frames.size() - at)), out);
    }
    EXPECT_GT(out.size(), 0u);  // before the end
    stream->finish(out);
    EXPECT_EQ(out, whole) << "chunks of " << chunk;
  }
}

TEST_P(GpuStreams, TakeNoiseFromAFileThatEndsWithTheMel) {
  OPEN_OR_SKIP(device, GetParam());
  const RandomVoice voice(tiny_waveglow());
  const auto mel = random_mel(4, 5);
  const auto source = gpu_source(device, voice.options, voice.views);
  const Synthesizer synthesizer(voice.voice, source, {.sigma = 0.8});
  const Noise drawn(3);
  EXPECT_EQ(synthesizer(mel, Noise(synthesizer.noise_for(mel, drawn), "z.npy")).samples,
            synthesizer(mel, drawn).samples);
}

INSTANTIATE_TEST_SUITE_P(All, GpuStreams, ::testing::Values(gpu::kEmulated, gpu::kCuda),
                         ::testing::PrintToStringParamName());

TEST(GpuSource, LeavesOtherModelsToOthers) {
  const auto device = gpu::emulated_device();
  const RandomVoice block_flow(melflow::testing::tiny_block_flow());
  EXPECT_EQ(gpu_source(device, block_flow.options, block_flow.views), nullptr);
  auto options = tiny_waveglow();
  options.conditioning = models::Conditioning::frame_rate;
  const RandomVoice frame_rate(options);
  EXPECT_EQ(gpu_source(device, frame_rate.options, frame_rate.views), nullptr);
}

}  // namespace
}  // namespace melflow::engine
