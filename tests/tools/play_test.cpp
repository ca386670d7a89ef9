// Playing, to a sink that is a clock and a file: what is heard, keys, signals, devices that go away.

#include <pty.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "engine/files/npy.h"
#include "tests/audio/alsa_config.h"
#include "tests/tools/cli_fixture.h"

namespace melflow {
namespace {

using melflow::testing::Pipe;
using melflow::testing::text_of;
using nlohmann::json;

/// A terminal of the test's own, whose other end a program has as stdin and stderr.
class Terminal {
 public:
  Terminal() {
    if (openpty(&ours_, &theirs_, nullptr, nullptr, nullptr) != 0) ours_ = theirs_ = -1;
    for (const int end : {ours_, theirs_}) fcntl(end, F_SETFD, FD_CLOEXEC);
    fcntl(ours_, F_SETFL, O_NONBLOCK);
  }
  ~Terminal() {
    close(ours_);
    close(theirs_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  int theirs() const { return theirs_; }
  void press(const std::string& keys) const { EXPECT_EQ(write(ours_, keys.data(), keys.size()), ssize_t(keys.size())); }
  bool line_by_line() const {
    termios mode{};
    tcgetattr(theirs_, &mode);
    return (mode.c_lflag & ICANON) != 0 && (mode.c_lflag & ECHO) != 0;
  }
  /// Everything shown so far.
  const std::string& shown() {
    char block[4096];
    for (ssize_t n; (n = read(ours_, block, sizeof block)) > 0;) shown_.append(block, static_cast<size_t>(n));
    return shown_;
  }

 private:
  int ours_ = -1, theirs_ = -1;
  std::string shown_;
};

class Playing : public melflow::testing::CliFixture {
 protected:
  std::string clock() const { return "clock:" + path("heard.f32"); }

  /// What was heard, without the silence before and after.
  std::vector<float> heard(size_t samples) const { return without_silence(path("heard.f32"), samples); }
  static std::vector<float> without_silence(const std::string& file, size_t samples) {
    const auto bytes = text_of(file);
    std::vector<float> all(bytes.size() / sizeof(float));
    std::memcpy(all.data(), bytes.data(), all.size() * sizeof(float));
    const auto begin = std::find_if(all.begin(), all.end(), [](float s) { return s != 0.0f; });
    return {begin, begin + std::min<ptrdiff_t>(static_cast<ptrdiff_t>(samples), all.end() - begin)};
  }
  std::vector<float> offline(const std::string& mel) const {
    EXPECT_EQ(run({"synth", mel, "-o", path("offline.npy"), "--force"}).code, 0);
    return files::read_npy(path("offline.npy")).values;
  }

  /// Waits, for as long as a slow machine may take, until `happened`.
  template <typename Condition>
  static bool until(const Condition& happened) {
    for (int i = 0; i < 6000; ++i) {
      if (happened()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  /// `play --live-in -` of raw pcm16 at 22,050 Hz, which comes in as much at a time as lasts `piece`.
  melflow::testing::Result play_live(const std::string& pcm, std::chrono::milliseconds piece,
                                     const std::string& device) {
    Pipe in;
    const auto child = program_.start_with(
        {in.reader(), -1, -1},
        {"play", "--live-in", "-", "--rate", "22050", "--format", "pcm16", "--device-out", device, "--json"});
    in.close_reader();
    const auto bytes = static_cast<size_t>(22050 * 2 * piece.count() / 1000);
    for (size_t at = 0; at < pcm.size(); at += bytes) {
      in.write(pcm.substr(at, bytes));
      std::this_thread::sleep_for(piece);
    }
    in.close_writer();
    return program_.wait(child);
  }
  /// The program, playing a long mel at a terminal of which it is in charge.
  pid_t play_at(const Terminal& terminal, int frames = 3000) {
    const auto mel = short_mel(frames);
    return program_.start_with({terminal.theirs(), -1, terminal.theirs()},
                               {"play", mel, "--device-out", clock(), "--json"});
  }
  static bool playing(Terminal& terminal) { return terminal.shown().find("0:01 of") != std::string::npos; }
};

TEST_F(Playing, WhatIsHeardIsWhatSynthWrites) {
  const auto mel = short_mel(40);
  const auto result = run({"play", mel, "--device-out", clock(), "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto item = json::parse(result.out);
  EXPECT_EQ(item["underruns"], 0);
  EXPECT_EQ(item["seconds"].get<double>(), 40 * 256 / 22050.0);
  const auto expected = offline(mel);
  EXPECT_EQ(heard(expected.size()), expected);
}

TEST_F(Playing, StdinMayBeTheSecondInput) {
  const auto mel = short_mel(20);
  const auto result = run({"play", mel, "-", "--device-out", "clock:/dev/null", "--json"}, text_of(mel));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(std::ranges::count(result.out, '\n'), 2) << result.out;
}

TEST_F(Playing, ARecordingIsAsLongAsItWas) {
  const auto pcm = spoken_pcm(10000);
  const auto result =
      run({"play", "-", "--rate", "22050", "--format", "pcm16", "--device-out", clock(), "--json"}, pcm);
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(json::parse(result.out)["seconds"].get<double>(), 10000 / 22050.0);
}

TEST_F(Playing, FramesAreHeardWhileOthersArrive) {
  const auto mel = part_of_sample(60);
  std::string frames;
  for (int t = 0; t < mel.frames; ++t) {
    for (int m = 0; m < mel.n_mels; ++m) {
      const float value = mel.values[static_cast<size_t>(m * mel.frames + t)];
      frames.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
  }
  Pipe in;
  const auto child = program_.start_with(
      {in.reader(), -1, -1}, {"play", "-", "--stream", "--device-out", clock(), "--prebuffer", "0.05", "--json"});
  in.close_reader();
  in.write(frames.substr(0, frames.size() / 2));
  // 25 frames of sound and a silence without end: the input is open still.
  EXPECT_TRUE(until([&] { return heard(25 * 256).size() == 25 * 256; }));
  in.write(frames.substr(frames.size() / 2));
  in.close_writer();
  const auto result = program_.wait(child);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(json::parse(result.out)["seconds"].get<double>(), 60 * 256 / 22050.0);
}

TEST_F(Playing, LiveSoundReportsItsLatency) {
  const auto result = play_live(spoken_pcm(22050), std::chrono::milliseconds(20), clock());
  ASSERT_EQ(result.code, 0) << result.err;
  const auto item = json::parse(result.out);
  // The voice looks 5 frames ahead and the mel half a window: 81 ms, however fast the machine.
  EXPECT_GT(item["latency"].get<double>(), 0.075);
  EXPECT_NE(result.err.find("from sound to sound in"), std::string::npos) << result.err;
}

TEST_F(Playing, LiveSoundInLargePiecesIsHeardWhole) {
  const auto pcm = spoken_pcm(33075);
  for (const std::string device : {"clock:", "clock@48000:"}) {
    const auto result = play_live(pcm, std::chrono::milliseconds(250), device + path("heard.f32"));
    ASSERT_EQ(result.code, 0) << result.err;
    const auto item = json::parse(result.out);
    EXPECT_EQ(item["skips"], 0) << device;
    EXPECT_GE(item["seconds"].get<double>(), 33075 / 22050.0 - 1e-3) << device;
    std::filesystem::remove(path("heard.f32"));
  }
}

TEST_F(Playing, ASignalEndsWaitingForWhoWritesAndForWhoReads) {
  {
    Pipe in;
    const auto child = program_.start_with({in.reader(), -1, -1}, {"synth", "-", "-o", path("o.wav")});
    in.close_reader();
    in.write(std::string(200'000, '\0'));  // more than a pipe holds: it is being read
    kill(child, SIGINT);
    EXPECT_EQ(program_.wait(child).code, 130);
  }
  ASSERT_EQ(mkfifo(path("heard.f32").c_str(), 0600), 0);
  const int reader = open(path("heard.f32").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const auto child = program_.start({"play", short_mel(3000), "--device-out", clock()});
  int waiting = 0;
  EXPECT_TRUE(until([&] { return ioctl(reader, FIONREAD, &waiting) == 0 && waiting > 60'000; }));
  kill(child, SIGTERM);
  EXPECT_EQ(program_.wait(child).code, 143);
  close(reader);
}

TEST_F(Playing, AnAlsaDeviceGetsWhatSynthWrites) {
  const melflow::testing::AlsaConfig config(melflow::testing::file_device(path("alsa.raw")));
  if (run({"devices"}).out.find("tofile") == std::string::npos) GTEST_SKIP() << "PortAudio has no ALSA here";
  const auto mel = short_mel(40);
  // ALSA's null takes samples as fast as they come: everything must be there before the first.
  const auto result = run({"play", mel, "--device-out", "tofile", "--prebuffer", "5"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto expected = offline(mel);
  EXPECT_EQ(without_silence(path("alsa.raw"), expected.size()), expected);
}

TEST_F(Playing, CtrlCStopsIt) {
  const auto child = program_.start({"play", short_mel(3000), "--device-out", clock()});
  ASSERT_TRUE(until([&] { return !heard(1).empty(); }));
  const auto begin = std::chrono::steady_clock::now();
  kill(child, SIGINT);
  EXPECT_EQ(program_.wait(child).code, 130);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  RecordProperty("milliseconds", std::to_string(took.count()));
  EXPECT_LT(text_of(path("heard.f32")).size(), 3000u * 256 * sizeof(float));
}

TEST_F(Playing, ADeviceThatGoesAwayIsOneLineAndExitCode69) {
  ASSERT_EQ(mkfifo(path("heard.f32").c_str(), 0600), 0);
  const int reader = open(path("heard.f32").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const auto child = program_.start({"play", short_mel(3000), "--device-out", clock()});
  char sample[4];
  ASSERT_TRUE(until([&] { return read(reader, sample, sizeof sample) > 0; }));
  close(reader);
  const auto result = program_.wait(child);
  EXPECT_EQ(result.code, 69);
  EXPECT_NE(result.err.find("stopped taking sound"), std::string::npos) << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
}

TEST_F(Playing, AnAlsaDeviceThatFailsIsOneLineToo) {
  const melflow::testing::AlsaConfig config(melflow::testing::file_device("/dev/full"));
  if (run({"devices"}).out.find("tofile") == std::string::npos) GTEST_SKIP() << "PortAudio has no ALSA here";
  const auto result = run({"play", short_mel(100), "--device-out", "tofile"});
  EXPECT_EQ(result.code, 69);
  EXPECT_EQ(result.err, "melflow: the sound device stopped taking sound; was it unplugged?\n");
}

TEST_F(Playing, AFileThatCannotBeWrittenIsNamedAndHoldsOneInput) {
  const auto full = run({"play", short_mel(100), "--device-out", "clock:/dev/full"});
  EXPECT_EQ(full.code, 74);
  EXPECT_NE(full.err.find("/dev/full: cannot be written"), std::string::npos) << full.err;
  const auto two = run({"play", short_mel(), short_mel(), "--device-out", clock()});
  EXPECT_EQ(two.code, 64) << two.err;
  EXPECT_FALSE(std::filesystem::exists(path("heard.f32")));
}

TEST_F(Playing, KeysPauseSeekAndQuit) {
  Terminal terminal;
  const auto child = play_at(terminal);
  ASSERT_TRUE(until([&] { return playing(terminal); })) << terminal.shown();
  EXPECT_FALSE(terminal.line_by_line());
  terminal.press(" ");
  EXPECT_TRUE(until([&] { return terminal.shown().find("paused") != std::string::npos; }));
  terminal.press(" ");
  terminal.press("\033[C");
  EXPECT_TRUE(until([&] { return terminal.shown().find("0:07 of") != std::string::npos; })) << terminal.shown();
  terminal.press("\033[D");
  terminal.press("\033[D");
  EXPECT_TRUE(until([&] { return terminal.shown().rfind("0:00 of") > terminal.shown().find("0:07 of"); }))
      << terminal.shown();
  terminal.press("q");
  const auto result = program_.wait(child);
  EXPECT_EQ(result.code, 0) << terminal.shown();
  EXPECT_TRUE(terminal.line_by_line());
  EXPECT_EQ(json::parse(result.out)["underruns"], 0);
}

TEST_F(Playing, TheTerminalIsPutBackOnEveryWayOut) {
  for (const std::string way : {"\x03", "\x1c"}) {  // Ctrl-C, Ctrl-backslash
    Terminal terminal;
    std::filesystem::remove(path("heard.f32"));
    const auto child = play_at(terminal);
    ASSERT_TRUE(until([&] { return playing(terminal); })) << terminal.shown();
    EXPECT_FALSE(terminal.line_by_line());
    terminal.press(way);
    EXPECT_EQ(program_.wait(child).code, way == "\x03" ? 130 : 1000 + SIGQUIT);
    EXPECT_TRUE(terminal.line_by_line()) << static_cast<int>(way[0]);
  }
}

}  // namespace
}  // namespace melflow
