#include "tools/cli/playback.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <span>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tools/cli/signals.h"

namespace melflow::tools {

using namespace std::chrono_literals;

Playback::Playback(const Options& options, SoundAhead& sound)
    : rate_(options.sample_rate),
      length_(options.length),
      live_(options.live),
      prebuffer_(options.prebuffer),
      sound_(sound),
      player_({.device = options.device,
               .sample_rate = options.sample_rate,
               .prebuffer_seconds = options.prebuffer,
               .low_latency = options.live}) {}

void Playback::run(const std::function<void(double)>& heard) {
  const auto tick = live_ ? 2ms : 10ms;
  while (!stop_requested() && !quit_) {
    feed();
    player_.check();
    if (player_.done()) {
      player_.finish();
      return;
    }
    if (const auto key = keys_.wait(tick)) press(*key);
    heard(place());
    show();
  }
  player_.stop();
}

nlohmann::json Playback::report(const std::string& input) const {
  nlohmann::json item = {{"input", input},
                         {"seconds", static_cast<double>(player_.position()) / rate_},
                         {"underruns", player_.underruns()},
                         {"gap_seconds", player_.gap_seconds()},
                         {"late_calls", player_.late_calls()},
                         {"device_rate", player_.device_rate()},
                         {"device_latency", player_.latency_seconds()}};
  if (live_) item["skips"] = skips_;
  return item;
}

void Playback::warn(const std::string& input) const {
  const auto name = one_line(input);
  if (player_.underruns() > 0) {
    std::fprintf(stderr, "%s: %llu gaps, %.2f s in all; %s\n", name.c_str(),
                 static_cast<unsigned long long>(player_.underruns()), player_.gap_seconds(),
                 live_ ? "sound came in too late, or this machine is too slow; --prebuffer SECONDS bridges more"
                       : "this machine is too slow for the voice");
  }
  if (skips_ > 0) {
    std::fprintf(stderr, "%s: passed over old sound %llu times to catch up with what came in\n", name.c_str(),
                 static_cast<unsigned long long>(skips_));
  }
  if (player_.late_calls() > 0) {
    std::fprintf(stderr, "%s: the device was served too late %llu times\n", name.c_str(),
                 static_cast<unsigned long long>(player_.late_calls()));
  }
}

/// Live sound that queues up is heard late for ever. It arrives in pieces, so what matters is the least that waits
/// within a second: of what is too much even then, the oldest is passed over.
void Playback::catch_up() {
  constexpr double kSlack = 0.15;
  const auto now = std::chrono::steady_clock::now();
  const double queued = player_.queued_seconds() + static_cast<double>(sound_.waiting()) / rate_;
  least_queued_ = std::min(least_queued_, queued);
  const bool look = now - looking_since_ >= 1s;
  if (!look && !paused_) return;
  const double excess = least_queued_ - prebuffer_;
  looking_since_ = now;
  least_queued_ = queued;
  if (paused_ || sound_.closed() || excess <= kSlack) return;
  const auto end = sound_.place() + sound_.waiting();
  const auto kept = static_cast<size_t>((queued - excess) * rate_);
  player_.drop();
  sound_.seek(end - std::min(kept, end));
  ++skips_;
}

void Playback::feed() {
  if (live_) catch_up();
  for (;;) {
    const size_t count = sound_.read(block_);
    if (count == 0) break;
    const size_t taken = player_.offer(std::span(block_).first(count));
    sound_.unread(count - taken);
    if (taken < count) return;
  }
  if (sound_.at_end()) player_.end();
}

void Playback::press(Key key) {
  constexpr double kStep = 5.0;  // seconds
  switch (key) {
    case Key::space:
      paused_ = !paused_;
      player_.pause(paused_);
      break;
    case Key::left:
      seek(place() - kStep);
      break;
    case Key::right:
      seek(place() + kStep);
      break;
    case Key::quit:
      quit_ = true;
      break;
  }
}

void Playback::seek(double seconds) {
  if (live_) return;
  auto place = static_cast<size_t>(std::max(0.0, seconds) * rate_);
  if (length_ > 0) place = std::min(place, length_);
  player_.drop();
  sound_.seek(place);
}

void Playback::show() {
  if (!line_.on_terminal()) return;
  std::string text = clock_text(place());
  if (length_ > 0) text += " of " + clock_text(static_cast<double>(length_) / rate_);
  if (paused_) text += ", paused";
  if (player_.underruns() > 0) text += ", " + std::to_string(player_.underruns()) + " gaps";
  if (text != shown_) line_.show(text);
  shown_ = text;
}

}  // namespace melflow::tools
