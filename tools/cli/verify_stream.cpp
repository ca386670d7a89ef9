#include "tools/cli/verify_stream.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <random>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/files/sha256.h"
#include "engine/parallel.h"
#include "tools/cli/progress.h"
#include "tools/cli/signals.h"

namespace melflow::tools {
namespace {

using nlohmann::json;

/// Frames of each piece.
using Cutting = std::vector<size_t>;

Cutting random_cutting(size_t frames, unsigned seed) {
  constexpr size_t kMost = 1000;
  std::mt19937 random(seed);
  // Short pieces are as likely as long ones: the largest is drawn too.
  auto most = static_cast<size_t>(std::pow(static_cast<double>(kMost), std::uniform_real_distribution()(random)));
  most = std::clamp<size_t>(most, 1, std::max<size_t>(1, frames - 1));  // the whole in one piece would show nothing
  Cutting cutting;
  for (size_t left = frames; left > 0; left -= cutting.back()) {
    cutting.push_back(std::min(left, std::uniform_int_distribution<size_t>(1, most)(random)));
  }
  return cutting;
}

struct Speaker {
  const engine::Synthesizer& synthesizer;
  const engine::Noise& noise;
  std::span<const float> frames;  ///< [count, n_mels]

  std::vector<float> operator()(const Cutting& cutting) const {
    const auto bands = static_cast<size_t>(synthesizer.voice().mel.n_mels);
    const auto stream = synthesizer.open_stream(noise);
    std::vector<float> sound;
    size_t at = 0;
    for (const size_t count : cutting) {
      stream->add(frames.subspan(at * bands, count * bands), sound);
      at += count;
    }
    stream->finish(sound);
    return sound;
  }
};

/// What all cuttings made, compared with the first.
class Certificate {
 public:
  Certificate(const Speaker& speak, size_t frames, audio::Encoding encoding)
      : speak_(speak), encoding_(encoding), whole_(speak({frames})), digest_(digest_of(whole_)) {
    result_ = {{"frames", frames}, {"digest", digest_}, {"chunkings", json::array()}};
  }
  void add(const Cutting& cutting) {
    const auto sound = speak_(cutting);
    const auto digest = digest_of(sound);
    const auto [least, most] = std::minmax_element(cutting.begin(), cutting.end());
    const std::lock_guard lock(mutex_);
    result_["chunkings"].push_back(
        {{"pieces", cutting.size()}, {"shortest", *least}, {"longest", *most}, {"digest", digest}});
    equal_ = equal_ && digest == digest_;
    if (sound.size() != whole_.size()) difference_ = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < std::min(sound.size(), whole_.size()); ++i) {
      difference_ = std::max<double>(difference_, std::abs(sound[i] - whole_[i]));
    }
  }
  json result() {
    result_["equal"] = equal_;
    result_["max_difference"] = difference_;
    return result_;
  }

 private:
  std::string digest_of(const std::vector<float>& sound) const {
    return files::sha256_hex(audio::encode_pcm(sound, encoding_));
  }

  const Speaker& speak_;
  audio::Encoding encoding_;
  std::vector<float> whole_;
  std::string digest_;
  std::mutex mutex_;
  json result_;
  bool equal_ = true;
  double difference_ = 0;
};

}  // namespace

json verify_stream(const engine::Synthesizer& synthesizer, const files::MelFrames& mel, const engine::Noise& noise,
                   audio::Encoding encoding, int chunkings, int threads) {
  const auto frames = static_cast<size_t>(mel.frames()), bands = static_cast<size_t>(mel.n_mels());
  std::vector<float> values;
  mel.append(0, mel.frames(), values);
  bool equal = true;
  for (const Cutting& cutting : {Cutting{1}, {1, 1}, {2, 1}, {1, 2}, {1, 1, 1}}) {
    size_t count = 0;
    for (const size_t n : cutting) count += n;
    if (count > frames) continue;
    const Speaker speak{synthesizer, noise, std::span(values).first(count * bands)};
    Certificate certificate(speak, count, encoding);
    certificate.add(cutting);
    equal = equal && certificate.result()["equal"].get<bool>();
  }
  const Speaker speak{synthesizer, noise, values};
  Certificate certificate(speak, frames, encoding);
  ProgressLine line;
  std::mutex mutex;
  int done = 0;
  engine::parallel_for(static_cast<size_t>(chunkings), threads, [&](size_t i) {
    if (stop_requested()) return;
    certificate.add(random_cutting(frames, static_cast<unsigned>(i)));
    const std::lock_guard lock(mutex);
    line.show(std::to_string(++done) + " of " + std::to_string(chunkings) + " chunkings");
  });
  auto result = certificate.result();
  result["equal"] = equal && result["equal"].get<bool>();
  return result;
}

}  // namespace melflow::tools
