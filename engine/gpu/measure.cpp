#include "engine/gpu/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/error.h"

namespace melflow::gpu {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kSampleRate = 22050;
constexpr int kTenSeconds = 861;  // frames

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(std::lround(q * static_cast<double>(values.size() - 1)))];
}

int threads() { return static_cast<int>(std::max(1u, std::thread::hardware_concurrency())); }

/// Dense bfloat16 by the data sheet; 0: not known. Cards for PCIe have less than the modules of the same name.
double peak_flops(const std::string& name) {
  for (const auto& [part, peak] : {std::pair{"H100 PCIe", 756e12},
                                   {"H100 NVL", 835.5e12},
                                   {"H200 NVL", 835.5e12},
                                   {"H100", 989.4e12},
                                   {"H200", 989.4e12},
                                   {"A100", 312e12}}) {
    if (name.find(part) != std::string::npos) return peak;
  }
  return 0;
}

const char* name_of(TileShape shape) {
  switch (shape) {
    case TileShape::narrow:
      return "narrow tile";
    case TileShape::medium:
      return "medium tile";
    case TileShape::wide:
      return "wide tile";
    default:
      return "automatic tile";
  }
}

struct Load {
  int slots, frames;  ///< streams, and frames of each in a pass
  TileShape shape = TileShape::automatic;
  std::string text(const Device& device) const {
    return std::to_string(slots) + " x " + std::to_string(frames) + " frames, " + name_of(shape) + ", " +
           name_of(device.tensor_cores());
  }
};

/// A session whose streams are `length` frames long, before its first pass.
std::unique_ptr<Session> opened(const std::shared_ptr<const DeviceWaveGlow>& model, const Load& load, int64_t length) {
  auto session = std::make_unique<Session>(
      model, Session::Options{.slots = load.slots, .frames = {load.frames}, .shape = load.shape});
  for (int slot = 0; slot < load.slots; ++slot) {
    session->open(slot);
    session->end(slot, length);
  }
  const auto& s = model->sizes();
  const auto u = utterance(s, load.frames, 1);
  std::vector<float> mel, z;
  for (int slot = 0; slot < load.slots; ++slot) {
    mel.insert(mel.end(), u.mel.begin(), u.mel.end());
    z.insert(z.end(), u.z.begin(), u.z.end());
  }
  session->put(load.frames, mel, z);
  return session;
}

/// All of `load.slots` utterances of 10 s, from the first pass to the last sample; the best and the median of some.
Measured bench_offline(const std::shared_ptr<const DeviceWaveGlow>& model, const Load& load, double snr) {
  auto& device = *model->device();
  const auto& s = model->sizes();
  const int lag_frames = (model->lag() + s.groups_per_frame() - 1) / s.groups_per_frame();
  const int passes = (kTenSeconds + lag_frames + load.frames - 1) / load.frames;
  auto session = opened(model, load, kTenSeconds);
  std::vector<double> times;
  for (int round = 0; round < 8; ++round) {
    for (int slot = 0; slot < load.slots; ++slot) {
      session->open(slot);
      session->end(slot, kTenSeconds);
    }
    const double seconds = device.seconds([&] {
      for (int i = 0; i < passes; ++i) session->compute(load.frames);
    });
    if (round >= 3) times.push_back(seconds);  // the first ones record and warm up
  }
  const double samples = static_cast<double>(load.slots) * kTenSeconds * s.hop_length, median = quantile(times, 0.5);
  const double groups = samples / s.group_size, peak = peak_flops(device.name());
  const double done = groups * s.folded_flops_per_group() / median;
  return {"10 s utterances: " + load.text(*model->device()),
          {{"samples_per_s", samples / median},
           {"times_real_time", samples / median / kSampleRate},
           {"tflops", groups * s.flops_per_group() / median / 1e12},
           {"tflops_done", done / 1e12},
           {"share_of_peak", peak > 0 ? done / peak : NAN},
           {"median_ms", 1e3 * median},
           {"min_ms", 1e3 * quantile(times, 0)},
           {"p99_ms", 1e3 * quantile(times, 0.99)},
           {"kernels_a_pass", session->kernels()},
           {"passes", passes},
           {"state_mb", static_cast<double>(session->state_bytes()) / 1e6},
           {"snr_db", snr}}};
}

/// Streams that bring a chunk each, copies included, as a program sees it.
Measured bench_chunks(const std::shared_ptr<const DeviceWaveGlow>& model, const Load& load, double snr) {
  const auto& s = model->sizes();
  auto session = opened(model, load, 1 << 20);
  const auto u = utterance(s, load.frames * load.slots, 2);
  std::vector<float> samples(u.z.size());
  std::vector<double> times;
  double first = 0;
  for (int i = -20; i < 100; ++i) {
    if (i == 0) {
      for (int slot = 0; slot < load.slots; ++slot) session->open(slot);
    }
    const auto begin = Clock::now();
    session->pass(load.frames, u.mel, u.z, samples);
    const double took = std::chrono::duration<double>(Clock::now() - begin).count();
    if (i < 0) continue;
    const bool silent = times.empty() || session->ready(0).from == 0;
    times.push_back(took);
    if (silent) first += took;  // up to the pass that gives the first sample
  }
  const double chunk = load.frames * s.hop_length / kSampleRate, median = quantile(times, 0.5);
  return {"chunks: " + load.text(*model->device()),
          {{"chunk_ms", 1e3 * chunk},
           {"min_ms", 1e3 * quantile(times, 0)},
           {"median_ms", 1e3 * median},
           {"p99_ms", 1e3 * quantile(times, 0.99)},
           {"first_audio_ms_of_computing", 1e3 * first},
           {"real_time_streams", std::floor(load.slots * chunk / median)},
           {"state_mb", static_cast<double>(session->state_bytes()) / 1e6},
           {"snr_db", snr}}};
}

/// Operations a second of a load that is always the same.
class Probe {
 public:
  explicit Probe(const std::shared_ptr<const DeviceWaveGlow>& model)
      : model_(model), session_(opened(model, kLoad, int64_t{1} << 20)) {
    tflops();  // records and warms up
  }
  double tflops() {
    constexpr int kPasses = 20;
    const double seconds = model_->device()->seconds([&] {
      for (int i = 0; i < kPasses; ++i) session_->compute(kLoad.frames);
    });
    const auto& s = model_->sizes();
    return kPasses * kLoad.slots * kLoad.frames * s.groups_per_frame() * s.flops_per_group() / seconds / 1e12;
  }

 private:
  static constexpr Load kLoad{16, 33};
  std::shared_ptr<const DeviceWaveGlow> model_;
  std::unique_ptr<Session> session_;
};

PlainWaveGlow paper() { return PlainWaveGlow::random({}, 20181031); }

}  // namespace

std::string Measured::json() const {
  std::ostringstream out;
  out.precision(6);
  out << "{\"what\": \"" << what << '"';
  for (const auto& [name, value] : numbers) {
    out << ", \"" << name << "\": ";
    if (std::isfinite(value)) {
      out << value;
    } else {
      out << "null";
    }
  }
  out << '}';
  return out.str();
}

bool check(const std::shared_ptr<Device>& device, bool all_voices, const Report& report) {
  bool good = true;
  const PlainWaveGlow::Sizes small{.n_mels = 6,
                                   .hop_length = 32,
                                   .n_flows = 5,
                                   .early_every = 2,
                                   .upsample_kernel = 96,
                                   .layers = 3,
                                   .channels = 12};
  auto wide = small, deep = small, odd = small;
  wide.channels = 136;
  deep.layers = 8;
  odd.group_size = 5;
  odd.hop_length = 35;
  odd.early_size = 1;
  for (const auto& sizes : all_voices ? std::vector{small, wide, deep, odd} : std::vector{small}) {
    const auto plain = PlainWaveGlow::random(sizes, 11);
    const auto model = std::make_shared<const DeviceWaveGlow>(device, plain);
    const std::vector<Utterance> all{utterance(sizes, 33, 1), utterance(sizes, 1, 2), utterance(sizes, 70, 3)};
    const auto whole = speak(model, all, {70});
    for (const auto shape : {TileShape::narrow, TileShape::medium, TileShape::wide}) {
      const auto cut = speak(model, all, {7, 2, 11}, shape);
      const double snr = snr_db(cut[2], plain.inverse(all[2].mel, all[2].z, threads()));
      good = good && snr > 40 && cut == whole;
      report({std::to_string(sizes.channels) + " channels, " + std::to_string(sizes.layers) + " layers, groups of " +
                  std::to_string(sizes.group_size) + ", " + name_of(shape) + ", " + name_of(device->tensor_cores()),
              {{"snr_db", snr}, {"same_bits", cut == whole ? 1 : 0}}});
    }
  }
  return good;
}

void bench(const std::shared_ptr<Device>& device, const Report& report) {
  const auto plain = paper();
  const auto model = std::make_shared<const DeviceWaveGlow>(device, plain);
  // Four that differ, so that a slot that takes another's rows is heard.
  std::vector<Utterance> some;
  std::vector<std::vector<double>> expected;
  for (const unsigned seed : {1u, 2u, 3u, 4u}) {
    some.push_back(utterance(plain.sizes, 4, seed));
    expected.push_back(plain.inverse(some.back().mel, some.back().z, threads()));
  }
  // Of the tiles that this load takes: as many slots, and passes as long. The worst of the slots.
  const auto error_of = [&](const Load& load) {
    std::vector<Utterance> all;
    for (size_t slot = 0; slot < static_cast<size_t>(load.slots); ++slot) all.push_back(some[slot % some.size()]);
    const auto sounds = speak(model, all, {load.frames}, load.shape);
    double worst = INFINITY;
    for (size_t slot = 0; slot < sounds.size(); ++slot) {
      const double snr = snr_db(sounds[slot], expected[slot % some.size()]);
      worst = snr < worst ? snr : std::isnan(snr) ? -INFINITY : worst;
    }
    return worst;
  };
  Probe probe(model);
  const auto between_looks = [&](auto&& work, const Load& load) {
    const double snr = error_of(load), before = probe.tflops();
    auto row = work(model, load, snr);
    row.numbers.insert(row.numbers.end(), {{"probe_tflops_before", before}, {"probe_tflops_after", probe.tflops()}});
    report(row);
  };
  for (const auto shape : {TileShape::automatic, TileShape::narrow, TileShape::medium, TileShape::wide}) {
    between_looks(bench_offline, {1, 264, shape});
  }
  for (const Load& load :
       {Load{1, 960}, Load{4, 132}, Load{16, 33}, Load{16, 66}, Load{16, 66, TileShape::medium}, Load{64, 33}}) {
    between_looks(bench_offline, load);
  }
  for (const auto shape : {TileShape::automatic, TileShape::medium, TileShape::narrow}) {
    between_looks(bench_chunks, {1, 32, shape});
  }
  for (const int slots : {32, 128, 256}) between_looks(bench_chunks, {slots, 32});
}

void dump(const std::shared_ptr<Device>& device, const std::string& folder, double seconds) {
  auto plain = paper();
  const auto u = utterance(plain.sizes, static_cast<int>(seconds * kSampleRate / plain.sizes.hop_length), 5);
  const auto audio = speak(std::make_shared<const DeviceWaveGlow>(device, plain), {u}, {264})[0];
  const auto write = [&](const char* name, const std::function<void(std::ostream&)>& values) {
    std::ofstream out(folder + "/" + name, std::ios::binary);
    values(out);
    if (!out.flush()) throw Error(Exit::io_error, folder + "/" + name + ": cannot be written");
  };
  const auto put = [](std::ostream& out, const std::vector<float>& values) {
    out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(4 * values.size()));
  };
  write("weights.f32", [&](std::ostream& out) { plain.each([&](const auto& values) { put(out, values); }); });
  write("mel.f32", [&](std::ostream& out) { put(out, u.mel); });
  write("z.f32", [&](std::ostream& out) { put(out, u.z); });
  write("audio.f32", [&](std::ostream& out) { put(out, audio); });
}

}  // namespace melflow::gpu
