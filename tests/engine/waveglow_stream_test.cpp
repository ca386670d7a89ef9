#include "engine/synth/waveglow_stream.h"

#include <random>

#include <gtest/gtest.h>

#include "engine/model_voice.h"
#include "engine/synth/waveglow_weights.h"
#include "models/waveglow.h"
#include "tests/engine/import_waveglow.h"
#include "tests/engine/reference.h"

namespace melflow::engine {
namespace {

using melflow::testing::import_waveglow;
using melflow::testing::json_of;
using melflow::testing::npy;
using melflow::testing::relative_error;
using melflow::testing::shared;
using melflow::testing::tensors_of;
using models::Conditioning;
using models::WaveGlow;
using models::WaveGlowOptions;

std::shared_ptr<WaveGlow> random_model(const WaveGlowOptions& options) {
  torch::manual_seed(11);
  auto model = std::make_shared<WaveGlow>(options);
  torch::NoGradGuard no_grad;
  for (auto& p : model->parameters()) p.add_(torch::randn_like(p) * 0.05);
  return model;
}

std::shared_ptr<const WaveGlowWeights> pack(const WaveGlow& model, cpu::Precision precision = cpu::Precision::fp32,
                                            const cpu::TileKernels& kernels = cpu::tile_kernels()) {
  return std::make_shared<WaveGlowWeights>(model.options(), engine::tensors_of(model).views(), precision, kernels);
}

/// One of each kind of thing that a WaveGlow can be configured to do.
std::map<std::string, WaveGlowOptions> configurations() {
  const WaveGlowOptions small{.n_mels = 6,
                              .hop_length = 32,
                              .n_flows = 5,
                              .early_every = 2,
                              .upsample_kernel = 96,
                              .context_channels = 10,
                              .wavenet_layers = 3,
                              .wavenet_channels = 12};
  std::map<std::string, WaveGlowOptions> out{{"published", small}};
  const auto vary = [&](const std::string& name, auto&& change) { change(out[name] = small); };
  vary("frame_rate", [](auto& o) { o.conditioning = Conditioning::frame_rate; });
  vary("kernel_not_whole_hops", [](auto& o) { o.upsample_kernel = 70; });
  vary("kernel_of_one_hop", [](auto& o) { o.upsample_kernel = 32; });
  vary("large_odd_groups", [](auto& o) {
    o.hop_length = 62;
    o.group_size = 31;
    o.early_size = 3;
    o.conditioning = Conditioning::frame_rate;
  });
  vary("a_group_a_frame", [](auto& o) {
    o.group_size = 32;
    o.conditioning = Conditioning::frame_rate;
  });
  vary("groups_of_two", [](auto& o) {
    o.group_size = 2;
    o.early_every = 9;
    o.hop_length = 1024;  // a frame is more than a tile
    o.upsample_kernel = 2048;
    o.n_flows = 2;
  });
  vary("frames_beyond_tiles", [](auto& o) {
    o.group_size = 2;
    o.early_every = 9;
    o.hop_length = 1024;
    o.upsample_kernel = 2048;
    o.n_flows = 2;
    o.conditioning = Conditioning::frame_rate;
  });
  vary("kernel_five", [](auto& o) { o.wavenet_kernel = 5; });
  vary("no_neighbours", [](auto& o) { o.wavenet_kernel = 1; });
  vary("dilations_start_again", [](auto& o) {
    o.wavenet_layers = 5;
    o.wavenet_dilation_cycle = 2;
  });
  vary("swapped_halves", [](auto& o) { o.swap_odd_halves = true; });
  vary("one_layer", [](auto& o) { o.wavenet_layers = 1; });
  vary("wider_than_a_panel", [](auto& o) { o.wavenet_channels = 75; });
  vary("whole_tiles_of_amx", [](auto& o) {  // rows that need not be copied, in more than one tile of time
    o.n_mels = 16;
    o.hop_length = 256;
    o.upsample_kernel = 512;
    o.n_flows = 2;
    o.wavenet_channels = 64;
  });
  return out;
}

/// [frames, n_mels].
std::vector<float> mel_frames(int64_t bands, int64_t frames) {
  std::vector<float> out;
  for (int64_t i = 0; i < bands * frames; ++i) out.push_back(normal_at(77, i % bands, i / bands) - 3);
  return out;
}

struct Cut {
  std::shared_ptr<const WaveGlowWeights> weights;
  int threads = 1;
  std::vector<int> chunks = {1 << 20};  ///< frames, over and over

  std::vector<float> operator()(std::span<const float> frames) const {
    WaveGlowStream stream(weights, std::make_shared<ThreadTeam>(threads), Noise(8), 0.8);
    std::vector<float> out;
    const auto bands = static_cast<size_t>(weights->n_mels);
    size_t at = 0;
    for (size_t i = 0; at < frames.size(); ++i) {
      const auto n = std::min(frames.size() - at, static_cast<size_t>(chunks[i % chunks.size()]) * bands);
      stream.add(frames.subspan(at, n), out);
      at += n;
    }
    stream.finish(out);
    return out;
  }
};

torch::Tensor oracle(WaveGlow& model, std::span<const float> frames) {
  torch::InferenceMode guard;
  const auto& o = model.options();
  const auto mel = vector_tensor(frames).view({1, -1, o.n_mels}).transpose(1, 2).contiguous();
  const auto z = noise_tensor(Noise(8), o.group_size, 0, mel.size(2) * (o.hop_length / o.group_size)) * 0.8;
  return model.inverse(z.to(torch::kFloat64), mel.to(torch::kFloat64)).value[0];
}

class WaveGlowStreamTest : public ::testing::TestWithParam<std::string> {
 protected:
  WaveGlowOptions options() const { return configurations().at(GetParam()); }
};

TEST_P(WaveGlowStreamTest, EqualsTheModelsInverseInDoubleWithEveryKernel) {
  const auto model = random_model(options());
  std::vector<const cpu::TileKernels*> kernels{&cpu::plain_tile_kernels()};
  for (const auto* k : cpu::runnable_tile_kernels()) kernels.push_back(k);
  std::vector<std::shared_ptr<const WaveGlowWeights>> weights;
  for (const auto* k : kernels) weights.push_back(pack(*model, cpu::Precision::fp32, *k));
  model->to(torch::kFloat64);
  for (const int frames : {1, 2, 3, 40}) {
    const auto mel = mel_frames(options().n_mels, frames);
    const auto expected = oracle(*model, mel);
    for (const auto& w : weights) {
      const auto actual = Cut{w}(mel);
      ASSERT_EQ(actual.size(), static_cast<size_t>(frames * options().hop_length));
      EXPECT_LT(relative_error(vector_tensor(actual).to(torch::kFloat64), expected), 1e-5)
          << frames << " frames, " << w->kernels->name;
    }
  }
}

double snr(const std::vector<float>& actual, const torch::Tensor& expected) {
  const auto error = vector_tensor(actual).to(torch::kFloat64) - expected;
  return 10 * std::log10((expected.square().sum() / error.square().sum()).item<double>());
}

TEST_P(WaveGlowStreamTest, LowerPrecisionsAreNearWithEveryKernel) {
  const auto model = random_model(options());
  const auto mel = mel_frames(options().n_mels, 40);
  std::map<cpu::Precision, std::vector<std::vector<float>>> sounds;
  for (const auto precision : {cpu::Precision::bf16, cpu::Precision::int8}) {
    for (const auto* k : cpu::runnable_tile_kernels()) {
      sounds[precision].push_back(Cut{pack(*model, precision, *k)}(mel));
    }
  }
  model->to(torch::kFloat64);
  const auto expected = oracle(*model, mel);
  for (const auto& sound : sounds[cpu::Precision::bf16]) EXPECT_GT(snr(sound, expected), 40);
  for (const auto& sound : sounds[cpu::Precision::int8]) EXPECT_GT(snr(sound, expected), 25);
}

TEST_P(WaveGlowStreamTest, OptionsNameEveryTensorOfTheModel) {
  const auto model = random_model(options());
  EXPECT_NO_THROW(require_tensors(engine::tensors_of(*model).views(), options().tensors(), "model"));
  EXPECT_EQ(options().tensors().size(), model->named_parameters().size());
}

// The callers refuse such mels; should one come through all the same, it must be seen and not become sound.
TEST_P(WaveGlowStreamTest, AMelThatIsNotANumberIsHeardAsNone) {
  const auto bands = static_cast<size_t>(options().n_mels);
  auto mel = mel_frames(options().n_mels, 9);
  mel[4 * bands + 1] = std::nanf("");
  for (const auto precision : cpu::kPrecisions) {
    const auto sound = Cut{pack(*random_model(options()), precision)}(mel);
    const auto hop = static_cast<size_t>(options().hop_length);
    for (size_t i = 4 * hop; i < 5 * hop; ++i) ASSERT_TRUE(std::isnan(sound[i])) << name_of(precision) << ", " << i;
  }
}

TEST_P(WaveGlowStreamTest, CutsAndThreadsChangeNotABit) {
  for (const auto precision : cpu::kPrecisions) {
    const auto weights = pack(*random_model(options()), precision);
    std::mt19937 random(5);
    for (const int frames : {1, 2, 3, 25}) {
      const auto mel = mel_frames(options().n_mels, frames);
      const auto offline = Cut{weights}(mel);
      for (int trial = 0; trial < 6; ++trial) {
        std::vector<int> chunks(20);
        for (int& n : chunks) n = std::uniform_int_distribution(1, frames)(random);
        if (trial == 0) chunks = {1};
        const Cut run{weights, 1 + trial % 3, chunks};
        ASSERT_EQ(run(mel), offline) << frames << " frames, trial " << trial << ", " << run.threads << " threads, "
                                     << name_of(precision);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, WaveGlowStreamTest, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& [name, options] : configurations()) names.push_back(name);
                           return names;
                         }()),
                         [](const auto& of) { return of.param; });

/// NVIDIA's weights, mel, noise and audio.
struct StreamReference {
  std::shared_ptr<WaveGlow> model;
  files::NpyArray z;
  std::vector<float> frames;
  torch::Tensor audio;
  double sigma;
};

StreamReference reference(const std::string& name, const std::string& weights) {
  const auto folder = shared("reference/waveglow/" + name);
  const auto imported = import_waveglow(tensors_of(folder / weights), name);
  StreamReference out{std::make_shared<WaveGlow>(imported.options), {}, {}, npy(folder / "audio_expected.npy"), 0};
  torch::NoGradGuard no_grad;
  for (auto& p : out.model->named_parameters()) p.value().copy_(imported.tensors.at(p.key()));
  const auto row = [&](const char* file) {
    const auto z = npy(folder / file);
    return z.view({-1, z.size(-1)});
  };
  const auto z = torch::cat({row("z_2.npy"), row("z_1.npy"), row("z_0.npy")});
  out.z.shape = z.sizes().vec();
  out.z.values = tensor_vector(z);
  const auto mel = npy(folder / "mel.npy");
  out.frames = tensor_vector(mel.view({mel.size(-2), mel.size(-1)}).t());
  out.sigma = json_of(folder / "config.json")["sigma"];
  return out;
}

TEST(WaveGlowStreamReference, GivesNvidiasAudio) {
  for (const auto& [name, weights] :
       {std::pair{"tiny", "state_dict.safetensors"}, {"mel80", "state_dict_half.safetensors"}}) {
    REQUIRE_SHARED(std::string("reference/waveglow/") + name);
    const auto r = reference(name, weights);
    for (const int threads : {1, 2}) {
      WaveGlowStream stream(pack(*r.model), std::make_shared<ThreadTeam>(threads), Noise(r.z, "z"), r.sigma);
      std::vector<float> out;
      stream.add(r.frames, out);
      stream.finish(out);
      EXPECT_LT(relative_error(vector_tensor(out), r.audio), 1e-5) << name;
    }
  }
}

// 20 MB at the published size, in every precision. A flow costs what a flow costs: two and three of them tell of
// twelve.
TEST(WaveGlowStream, KeepsLittleForEachStream) {
  for (const auto precision : {cpu::Precision::fp32, cpu::Precision::bf16}) {
    const auto state = [&](int64_t flows) {
      const auto weights = pack(*random_model({.n_flows = flows}), precision);
      return static_cast<double>(WaveGlowStream(weights, std::make_shared<ThreadTeam>(1), Noise(1), 1.0).state_bytes());
    };
    const double two = state(2), flow = state(3) - two;
    EXPECT_LT(two + 10 * flow, 20e6) << name_of(precision);
    EXPECT_GT(flow, 510 * 256 * 2) << "the rows that the convolutions of a flow still need";
  }
}

TEST(WaveGlowStream, SpeaksAsSoonAsItsReachAllows) {
  const auto o = configurations().at("published");
  const auto model = random_model(o);
  WaveGlowStream stream(pack(*model), std::make_shared<ThreadTeam>(1), Noise(1), 1.0);
  const auto frames = mel_frames(o.n_mels, 40);
  std::vector<float> out;
  const int64_t side = 5 * (1 + 2 + 4);  // flows × dilations, in groups
  for (int64_t t = 1; t <= 40; ++t) {
    stream.add(std::span(frames).subspan(static_cast<size_t>((t - 1) * o.n_mels), static_cast<size_t>(o.n_mels)), out);
    const int64_t groups = std::max<int64_t>(0, t * o.hop_length / o.group_size - side);
    EXPECT_EQ(out.size(), static_cast<size_t>(groups * o.group_size));
  }
}

}  // namespace
}  // namespace melflow::engine
