#include "engine/gpu/speak.h"

#include <cmath>
#include <numbers>
#include <random>

namespace melflow::gpu {

Utterance utterance(const PlainWaveGlow::Sizes& sizes, int frames, unsigned seed) {
  std::mt19937 bits(seed);
  const auto normal = [&] {
    const double a = (bits() + 1.0) * 0x1p-32, b = bits() * 0x1p-32;
    return static_cast<float>(std::sqrt(-2 * std::log(a)) * std::cos(2 * std::numbers::pi * b));
  };
  Utterance out{frames, {}, {}};
  for (int i = 0; i < frames * sizes.n_mels; ++i) out.mel.push_back(-5 + 2 * normal());
  for (int i = 0; i < frames * sizes.hop_length; ++i) out.z.push_back(0.7f * normal());
  return out;
}

std::vector<std::vector<float>> speak(std::shared_ptr<const DeviceWaveGlow> model, const std::vector<Utterance>& all,
                                      const std::vector<int>& lengths, TileShape shape) {
  Session session(std::move(model), {.slots = static_cast<int>(all.size()), .frames = lengths, .shape = shape});
  const auto& s = session.model().sizes();
  const auto bands = static_cast<size_t>(s.n_mels), hop = static_cast<size_t>(s.hop_length);
  std::vector<std::vector<float>> out(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    session.open(static_cast<int>(i));
    session.end(static_cast<int>(i), all[i].frames);
  }
  const auto part = [](std::vector<float>& to, const std::vector<float>& from, size_t first, size_t count) {
    // Beyond the end nothing is looked at: if it were, it would be heard.
    for (size_t k = first; k < first + count; ++k) to.push_back(k < from.size() ? from[k] : NAN);
  };
  bool more = true;
  for (size_t step = 0, frame = 0; more; ++step) {
    const auto n = static_cast<size_t>(lengths[step % lengths.size()]);
    std::vector<float> mel, z, samples(all.size() * n * hop);
    for (const auto& u : all) {
      part(mel, u.mel, frame * bands, n * bands);
      part(z, u.z, frame * hop, n * hop);
    }
    session.pass(static_cast<int>(n), mel, z, samples);
    frame += n;
    more = false;
    for (size_t i = 0; i < all.size(); ++i) {
      const auto ready = session.ready(static_cast<int>(i));
      const auto* from = samples.data() + i * n * hop + static_cast<size_t>(ready.first * s.group_size);
      out[i].insert(out[i].end(), from, from + ready.count * s.group_size);
      more = more || out[i].size() < static_cast<size_t>(all[i].frames) * hop;
    }
  }
  return out;
}

double snr_db(const std::vector<float>& actual, const std::vector<double>& expected) {
  double signal = 0, noise = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    signal += expected[i] * expected[i];
    noise += std::pow(expected[i] - static_cast<double>(actual.at(i)), 2);
  }
  return 10 * std::log10(signal / noise);
}

}  // namespace melflow::gpu
