// Playing and recording through a PulseAudio daemon of the test's own: a null sink, which has a real clock.

#include <algorithm>
#include <cmath>
#include <cstring>

#include <nlohmann/json.hpp>

#include "engine/files/npy.h"
#include "tests/audio/alsa_config.h"
#include "tests/tools/cli_fixture.h"

namespace melflow {
namespace {

using melflow::testing::text_of;
using nlohmann::json;

/// Runs until it is stopped, its output in a file.
class Daemon {
 public:
  Daemon(const std::vector<std::string>& words, const std::string& out, const std::string& err) {
    child_ = fork();
    if (child_ != 0) return;
    dup2(open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 1);
    dup2(open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 2);
    std::vector<char*> pointers;
    for (const auto& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
    pointers.push_back(nullptr);
    execvp(pointers[0], pointers.data());
    _exit(127);
  }
  ~Daemon() {
    kill(child_, SIGTERM);
    waitpid(child_, nullptr, 0);
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

 private:
  pid_t child_;
};

/// ALSA devices "nullsink" and "monitor", which hears what nullsink plays, both served by PulseAudio.
std::string pulse_devices(const std::string& socket) {
  const auto device = [&](const std::string& name, const std::string& of) {
    return "pcm." + name + " { type pulse server \"unix:" + socket + "\" device \"" + of +
           "\" hint { show on description \"" + name + "\" } }\n";
  };
  return device("nullsink", "null") + device("monitor", "null.monitor") +
         "pcm.!default { type null }\nctl.!default { type null }\n";
}

class Pulse : public melflow::testing::CliFixture {
 protected:
  void SetUp() override {
    if (access("/usr/bin/pulseaudio", X_OK) != 0) GTEST_SKIP() << "wants Debian's pulseaudio and libasound2-plugins";
    for (const char* name : {"HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH"}) {
      const char* was = std::getenv(name);
      before_.emplace_back(name, was == nullptr ? "" : was);
      setenv(name, folder_.path().c_str(), 1);
    }
    const auto socket = path("socket");
    daemon_ = std::make_unique<Daemon>(
        std::vector<std::string>{
            "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes", "-L",
            "module-native-protocol-unix auth-anonymous=1 socket=" + socket, "-L",
            "module-null-sink sink_name=null rate=22050 format=float32le channels=1 channel_map=mono"},
        path("pulse.out"), path("pulse.err"));
    for (int i = 0; i < 300 && !std::filesystem::exists(socket); ++i) pause();
    if (!std::filesystem::exists(socket)) GTEST_SKIP() << "no PulseAudio here: " << text_of(path("pulse.err"));
    config_ = std::make_unique<melflow::testing::AlsaConfig>(pulse_devices(socket));
    if (run({"devices"}).out.find("nullsink") == std::string::npos)
      GTEST_SKIP() << "ALSA has no plug-in for PulseAudio";
  }
  void TearDown() override {
    config_.reset();
    daemon_.reset();
    for (const auto& [name, value] : before_) value.empty() ? unsetenv(name) : setenv(name, value.c_str(), 1);
  }

  static void pause() { std::this_thread::sleep_for(std::chrono::milliseconds(10)); }

  /// Everything that the sink plays from now on, as float32 samples in a file.
  std::unique_ptr<Daemon> recorder() const {
    auto out = std::make_unique<Daemon>(
        std::vector<std::string>{"parec", "-s", "unix:" + path("socket"), "-d", "null.monitor", "--format=float32le",
                                 "--rate=22050", "--channels=1", "--latency-msec=20"},
        path("heard.f32"), path("parec.err"));
    for (int i = 0; i < 500 && text_of(path("heard.f32")).empty(); ++i) pause();
    return out;
  }
  std::vector<float> heard() const {
    const auto bytes = text_of(path("heard.f32"));
    std::vector<float> samples(bytes.size() / sizeof(float));
    std::memcpy(samples.data(), bytes.data(), samples.size() * sizeof(float));
    return samples;
  }

 private:
  std::vector<std::pair<const char*, std::string>> before_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<melflow::testing::AlsaConfig> config_;
};

TEST_F(Pulse, ASinkWithAClockHearsWhatSynthWrites) {
  const auto mel = short_mel(100);
  ASSERT_EQ(run({"synth", mel, "-o", path("offline.npy")}).code, 0);
  const auto expected = files::read_npy(path("offline.npy")).values;
  const auto recording = recorder();
  const auto result = run({"play", mel, "--device-out", "nullsink", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(json::parse(result.out)["underruns"], 0) << result.err;
  std::vector<float> played;
  for (int i = 0; i < 300 && played.size() < expected.size(); ++i, pause()) {
    const auto all = heard();
    const auto begin = std::find_if(all.begin(), all.end(), [](float s) { return s != 0.0f; });
    played.assign(begin, begin + std::min(static_cast<ptrdiff_t>(expected.size()), all.end() - begin));
  }
  EXPECT_EQ(played, expected);
}

/// RMS of each 50 ms.
std::vector<double> envelope(const std::vector<float>& samples) {
  constexpr size_t kStep = 1102;
  std::vector<double> out;
  for (size_t at = 0; at + kStep <= samples.size(); at += kStep) {
    double sum = 0;
    for (size_t i = at; i < at + kStep; ++i) sum += static_cast<double>(samples[i]) * samples[i];
    out.push_back(std::sqrt(sum / kStep));
  }
  return out;
}

/// Of two envelopes, at the shift at which they agree best.
double likeness(const std::vector<double>& a, const std::vector<double>& b) {
  double best = 0;
  for (size_t shift = 0; shift < b.size(); ++shift) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      const double v = i + shift < b.size() ? b[i + shift] : 0;
      ab += a[i] * v, aa += a[i] * a[i], bb += v * v;
    }
    if (bb > 0) best = std::max(best, ab / std::sqrt(aa * bb));
  }
  return best;
}

TEST_F(Pulse, ARecordingDeviceIsSpokenUntilCtrlC) {
  const auto child = program_.start({"synth", "--live-in", "monitor", "-o", path("live.npy"), "--json"});
  // A second program plays into what the first one hears.
  const melflow::testing::TempDir other;
  const melflow::testing::Program player(other.path());
  const auto mel = short_mel(150);
  ASSERT_EQ(player.run({"play", mel, "--device-out", "nullsink", "--prebuffer", "1"}).code, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  kill(child, SIGINT);
  const auto result = program_.wait(child);
  EXPECT_EQ(result.code, 130) << result.err;
  ASSERT_TRUE(std::filesystem::exists(path("live.npy"))) << result.err;
  ASSERT_EQ(player.run({"synth", mel, "-o", path("said.npy")}).code, 0);
  const auto live = files::read_npy(path("live.npy")).values, said = files::read_npy(path("said.npy")).values;
  EXPECT_GT(live.size(), said.size());
  EXPECT_GT(likeness(envelope(said), envelope(live)), 0.9);
}

}  // namespace
}  // namespace melflow
