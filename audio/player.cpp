#include "audio/player.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include "audio/playback_core.h"
#include "audio/resample.h"
#include "audio/sink.h"
#include "base/error.h"

namespace melflow::audio {
namespace {

using Clock = std::chrono::steady_clock;

size_t samples_in(double seconds, int sample_rate) { return static_cast<size_t>(std::max(0.0, seconds) * sample_rate); }

}  // namespace

struct Player::Impl {
  explicit Impl(const PlayerOptions& o)
      : rate(o.sample_rate),
        sink(open_sink(o.device, o.sample_rate, o.low_latency)),
        core(sink->sample_rate(), samples_in(o.prebuffer_seconds, sink->sample_rate()),
             samples_in(std::max(o.buffer_seconds, 2.0 * o.prebuffer_seconds), sink->sample_rate())) {
    if (sink->sample_rate() != rate) resampler.emplace(rate, sink->sample_rate());
    sink->start(core);
  }
  // The sink's thread uses the core.
  ~Impl() { sink.reset(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  /// Moves converted samples on into the ring; true when none is left.
  bool flush_converted() {
    const std::span<const float> left = std::span(converted).subspan(converted_at);
    converted_at += core.push(left);
    if (converted_at < converted.size()) return false;
    converted.clear();
    converted_at = 0;
    if (ending) core.finish();
    return true;
  }

  size_t offer(std::span<const float> samples) {
    if (!resampler) return core.push(samples);
    constexpr size_t kBlock = 1024;
    size_t taken = 0;
    while (flush_converted() && taken < samples.size()) {
      const auto block = samples.subspan(taken, std::min(kBlock, samples.size() - taken));
      resampler->push(block, converted);
      taken += block.size();
    }
    return taken;
  }

  void require_no_problem() const {
    if (auto problem = sink->problem(); !problem.empty()) throw Error(Exit::io_error, problem);
  }

  void check() {
    if (ending && resampler) flush_converted();
    constexpr auto kPatience = std::chrono::seconds(5);
    const auto now = Clock::now();
    // Nobody looked for long: this process was stopped (Ctrl-Z) or starved, and so was the device's thread.
    if (constexpr auto kPause = std::chrono::seconds(1); now - last_check > kPause) last_progress = now;
    last_check = now;
    if (const uint64_t asked = core.filled(); asked != last_filled) {
      last_filled = asked;
      last_progress = now;
    }
    if ((!sink->alive() || now - last_progress > kPatience) && !core.done()) {
      require_no_problem();
      throw Error(Exit::unavailable, "the sound device stopped taking sound; was it unplugged?");
    }
  }

  /// Waits a little for the device.
  void wait() {
    check();
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }

  int rate;
  std::unique_ptr<Sink> sink;
  PlaybackCore core;
  std::optional<StreamResampler> resampler;  ///< where the device has another rate
  std::vector<float> converted;              ///< what it made and the ring had no room for
  size_t converted_at = 0;
  bool ending = false;
  uint64_t last_filled = 0;
  Clock::time_point last_progress = Clock::now(), last_check = last_progress;
};

Player::Player(const PlayerOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Player::~Player() = default;
Player::Player(Player&&) noexcept = default;
Player& Player::operator=(Player&&) noexcept = default;

size_t Player::offer(std::span<const float> samples) { return impl_->offer(samples); }

void Player::end() {
  if (impl_->ending) return;
  impl_->ending = true;
  if (!impl_->resampler) {
    impl_->core.finish();
    return;
  }
  impl_->resampler->finish(impl_->converted);
  impl_->flush_converted();
}

bool Player::done() const { return impl_->core.done(); }
void Player::check() { impl_->check(); }

void Player::push(std::span<const float> samples) {
  while (!samples.empty()) {
    const size_t taken = impl_->offer(samples);
    samples = samples.subspan(taken);
    if (!samples.empty() && taken == 0) impl_->wait();
  }
}

void Player::finish() {
  end();
  while (!done()) impl_->wait();
  impl_->sink->drain();
  impl_->require_no_problem();
}

void Player::stop() { impl_->sink->abort(); }

void Player::pause(bool paused) { impl_->core.pause(paused); }

void Player::drop() {
  impl_->ending = false;
  impl_->converted.clear();
  impl_->converted_at = 0;
  if (impl_->resampler) impl_->resampler->reset();
  impl_->core.drop();
}

double Player::queued_seconds() const {
  const size_t converted = impl_->converted.size() - impl_->converted_at;
  return static_cast<double>(impl_->core.waiting() + converted) / impl_->sink->sample_rate();
}

uint64_t Player::position() const {
  const auto taken = impl_->core.position();
  if (!impl_->resampler) return taken;
  return static_cast<uint64_t>(static_cast<double>(taken) * impl_->rate / impl_->sink->sample_rate() + 0.5);
}

uint64_t Player::underruns() const { return impl_->core.underruns(); }
double Player::gap_seconds() const {
  return static_cast<double>(impl_->core.gap_samples()) / impl_->sink->sample_rate();
}
uint64_t Player::late_calls() const { return impl_->sink->late_calls(); }
double Player::latency_seconds() const { return impl_->sink->latency_seconds(); }
int Player::device_rate() const { return impl_->sink->sample_rate(); }

}  // namespace melflow::audio
