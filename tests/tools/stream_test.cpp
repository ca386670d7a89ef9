// Pipes: sound leaves while frames arrive, and is what offline synthesis writes.

#include <span>
#include <sstream>

#include <nlohmann/json.hpp>

#include "audio/sound_file.h"
#include "engine/files/npy.h"
#include "engine/files/pytorch_writer.h"
#include "engine/files/sha256.h"
#include "tests/tools/cli_fixture.h"

namespace melflow {
namespace {

using melflow::testing::Pipe;
using melflow::testing::text_of;

/// The set of signals that the kernel says of a process' first thread, a bit each.
uint64_t signals_of(pid_t process, const std::string& set) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(set + ":")) return std::stoull(line.substr(set.size() + 1), nullptr, 16);
  }
  ADD_FAILURE() << set;
  return 0;
}

class Streaming : public melflow::testing::CliFixture {
 protected:
  /// Frame after frame, raw float32.
  static std::string raw_frames(const audio::Mel& mel) {
    std::string bytes;
    for (int t = 0; t < mel.frames; ++t) {
      for (int m = 0; m < mel.n_mels; ++m) {
        const float value = mel.values[static_cast<size_t>(m * mel.frames + t)];
        bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
      }
    }
    return bytes;
  }
  static std::string npy_header(const std::string& shape, bool fortran) {
    std::string header =
        "{'descr': '<f4', 'fortran_order': " + std::string(fortran ? "True" : "False") + ", 'shape': " + shape + ", }";
    header.append(127 - 10 - header.size(), ' ');
    header += '\n';
    std::string prefix("\x93NUMPY\x01\0", 8);
    prefix += static_cast<char>(header.size());
    prefix += '\0';
    return prefix + header;
  }
  std::string offline(int frames, const std::string& kind = "raw") const {
    const auto result = run({"synth", short_mel(frames), "-o", path("offline." + kind), "--force"});
    EXPECT_EQ(result.code, 0) << result.err;
    return text_of(path("offline." + kind));
  }
};

TEST_F(Streaming, SoundLeavesBeforeTheEndOfTheInput) {
  const auto expected = offline(48);
  const auto frames = raw_frames(part_of_sample(48));
  Pipe in, out;
  const auto child = program_.start_with({in.reader(), out.writer(), -1}, {"synth", "-", "--raw", "--stream"});
  in.close_reader();
  out.close_writer();
  in.write(frames.substr(0, frames.size() / 2));
  // All that 24 frames let out, 5 of them being what the voice looks ahead and 15 what refining waits for: read while
  // the pipe stays open.
  constexpr size_t kFirst = (24 - 5 - 15) * 256 * 2;
  const auto first = out.read(kFirst);
  EXPECT_EQ(first, expected.substr(0, kFirst));
  in.write(frames.substr(frames.size() / 2));
  in.close_writer();
  const auto rest = out.read(expected.size());
  EXPECT_EQ(first + rest, expected);
  EXPECT_EQ(program_.wait(child).code, 0);
}

TEST_F(Streaming, EveryFramingGivesTheSameSound) {
  const auto expected = offline(24);
  const auto mel = part_of_sample(24);
  const std::vector<std::string> synth{"synth", "-", "--stream", "--raw"};
  files::write_mel(path("m.safetensors"), mel, AtomicFile::Existing::replace);
  files::write_state_dict(path("m.pt"), {{"mel", {files::Dtype::f32, {80, 24}, std::as_bytes(std::span(mel.values))}}},
                          AtomicFile::Existing::replace);
  const std::vector<std::pair<std::string, std::string>> framings{
      {"raw", raw_frames(mel)},
      {"[n_mels, frames] in Fortran order", npy_header("(80, 24)", true) + raw_frames(mel)},
      {"[frames, n_mels] in C order", npy_header("(24, 80)", false) + raw_frames(mel)},
      {"[n_mels, frames] in C order", text_of(short_mel(24))},
      {"safetensors", text_of(path("m.safetensors"))},
      {"torch.save", text_of(path("m.pt"))}};
  for (const auto& [name, bytes] : framings) {
    const auto result = run(synth, bytes);
    EXPECT_EQ(result.code, 0) << name << ": " << result.err;
    EXPECT_EQ(result.out, expected) << name;
  }
}

TEST_F(Streaming, BadFramesSayWhatIsWrongWithThem) {
  const auto frames = raw_frames(part_of_sample(8));
  auto not_finite = frames;
  not_finite.replace(320 * 3 + 8, 4, std::string("\0\0\xc0\x7f", 4));
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "no frame"},
      {frames.substr(0, 1000), "ends within frame 3: 40 bytes of 320"},
      {not_finite, "frame 3 holds NaN"},
      {npy_header("(80, 9)", true) + frames, "ends after 8 of 9 frames"},
      {npy_header("(80, 7)", true) + frames, "more frames than the .npy header says (7)"},
      {npy_header("(81, 8)", true) + frames, "stdin"},
      {text_of(clip_), "begins as a file (RIFF), not as frames"},
      {"ID3\3" + frames, "begins as a file (MP3), not as frames"}};
  for (const auto& [bytes, message] : cases) {
    const auto result = run({"synth", "-", "--stream", "--raw"}, bytes);
    EXPECT_EQ(result.code, 65) << message << result.err;
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
  }
  EXPECT_EQ(run({"synth", "-", "--live-in", "-", "-o", "-"}).code, 64);
  EXPECT_EQ(run({"synth", "--live-in", "-", "-o", "-"}).code, 64);
}

TEST_F(Streaming, AWavOfUnknownLengthIsOneThatPlayersAccept) {
  const auto expected = offline(24, "wav");
  const auto frames = raw_frames(part_of_sample(24));
  const auto piped = run({"synth", "-", "--stream"}, frames);
  ASSERT_EQ(piped.code, 0) << piped.err;
  EXPECT_EQ(piped.out.substr(4, 4), "\xff\xff\xff\xff");
  EXPECT_EQ(piped.out.substr(40, 4), "\xff\xff\xff\xff");
  EXPECT_EQ(piped.out.substr(44), expected.substr(44));
  put("piped.wav", piped.out);
  EXPECT_EQ(audio::read_audio(path("piped.wav")).samples, audio::read_audio(path("offline.wav")).samples);
  // A file's header is put right at the end.
  ASSERT_EQ(run({"synth", "-", "--stream", "-o", path("file.wav")}, frames).code, 0);
  EXPECT_EQ(text_of(path("file.wav")), expected);
}

TEST_F(Streaming, AReaderThatLeavesEarlyEndsItQuietly) {
  put("frames", raw_frames(part_of_sample(200)));
  const std::string command = std::string(MELFLOW_PROGRAM) + " synth - --stream <" + path("frames") + " 2>" +
                              path("err") + " | head -c 1000 | wc -c; exit ${PIPESTATUS[0]}";
  const auto status = std::system(("bash -c '" + command + "' >" + path("n")).c_str());
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(text_of(path("err")), "");
  EXPECT_EQ(std::stoi(text_of(path("n"))), 1000);
}

TEST_F(Streaming, LiveSoundIsWhatItsMelWouldHaveBeen) {
  const auto pcm = spoken_pcm(20000);
  ASSERT_EQ(run({"mel", "-", "--rate", "22050", "--format", "pcm16", "-o", path("m.npy")}, pcm).code, 0);
  ASSERT_EQ(run({"synth", path("m.npy"), "-o", path("offline.npy")}).code, 0);
  const auto live =
      run({"synth", "--live-in", "-", "--rate", "22050", "--format", "pcm16", "-o", path("live.npy")}, pcm);
  ASSERT_EQ(live.code, 0) << live.err;
  auto offline = files::read_npy(path("offline.npy")).values;
  ASSERT_GT(offline.size(), 20000u);  // the last frame reaches beyond the recording's end
  offline.resize(20000);
  EXPECT_EQ(files::read_npy(path("live.npy")).values, offline);
}

TEST_F(Streaming, LiveSoundOfAnotherRateIsConverted) {
  const auto pcm = spoken_pcm(20000);
  const auto live = run({"synth", "--live-in", "-", "--rate", "44100", "--format", "pcm16", "--raw"}, pcm);
  ASSERT_EQ(live.code, 0) << live.err;
  EXPECT_EQ(live.out.size(), 2u * 10000);
  EXPECT_EQ(run({"synth", "--live-in", "-", "--rate", "22050", "--format", "pcm16", "--raw"}, pcm.substr(1)).code, 65);
  const auto few =
      run({"synth", "--live-in", "-", "--rate", "44100", "--format", "pcm16", "--raw"}, pcm.substr(0, 100));
  EXPECT_EQ(few.code, 65);
  EXPECT_NE(few.err.find("stdin: the sound has 25 samples"), std::string::npos) << few.err;
}

TEST_F(Streaming, ASignalEndsItThoughNothingArrives) {
  Pipe in;
  const auto child = program_.start_with({in.reader(), -1, -1}, {"synth", "-", "--stream", "-o", path("x.wav")});
  in.close_reader();
  in.write(raw_frames(part_of_sample(3)));
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  // Taken by a thread that waits for them: a handler's frame may overwrite the heap (tools/cli/signals.h).
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCONT, SIGTSTP}) {
    EXPECT_EQ(signals_of(child, "SigCgt") >> (signal - 1) & 1, 0u) << signal;
    EXPECT_EQ(signals_of(child, "SigBlk") >> (signal - 1) & 1, 1u) << signal;
  }
  kill(child, SIGTERM);
  EXPECT_EQ(program_.wait(child).code, 143);
  EXPECT_FALSE(std::filesystem::exists(path("x.wav")));
}

TEST_F(Streaming, VerifyStreamPrintsTheDigestOfWhatSynthWrites) {
  const auto expected = offline(24);
  const auto result = run({"synth", "--verify-stream", short_mel(24), "--chunkings", "3"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto digest = files::sha256_hex(std::as_bytes(std::span(expected)));
  std::istringstream lines(result.out);
  std::string line;
  for (int i = 0; i < 4; ++i) {
    std::getline(lines, line);
    EXPECT_EQ(line.substr(0, line.find(' ')), digest) << line;
  }
  std::getline(lines, line);
  EXPECT_EQ(line, "equal");
  EXPECT_EQ(run({"synth", "--verify-stream", short_mel(24), "-o", path("x.wav")}).code, 64);
}

TEST_F(Streaming, StartBeginsInTheMiddleOfTheSameSound) {
  const auto expected = offline(48);
  const auto result = run({"synth", short_mel(48), "-o", "-", "--raw", "--start", "0.25"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, expected.substr(2 * 5513));  // 0.25 · 22050, rounded
  EXPECT_EQ(run({"synth", short_mel(48), "-o", "-", "--raw", "--start", "60"}).code, 64);
}

TEST_F(Streaming, WhatIsNoFramesOrNoSamplesIsTold) {
  auto mel = part_of_sample(24);
  EXPECT_EQ(run({"synth", "-", "--stream", "-o", path("ln.wav")}, raw_frames(mel)).err.find("natural logarithms"),
            std::string::npos);
  for (float& x : mel.values) x *= 8.686f;  // decibels
  const auto decibels = run({"synth", "-", "--stream", "-o", path("db.wav")}, raw_frames(mel));
  EXPECT_EQ(decibels.code, 0) << decibels.err;
  EXPECT_NE(decibels.err.find("natural logarithms"), std::string::npos) << decibels.err;

  const auto empty = run({"synth", "-", "-o", path("e.wav")}, "");
  EXPECT_EQ(empty.code, 65);
  EXPECT_NE(empty.err.find("stdin: is empty"), std::string::npos) << empty.err;
  for (const std::vector<std::string>& verb :
       {std::vector<std::string>{"mel", "-", "-o", path("m.npy")}, {"synth", "--live-in", "-", "-o", path("l.wav")}}) {
    auto arguments = verb;
    arguments.insert(arguments.end(), {"--rate", "22050", "--format", "pcm16"});
    const auto container = run(arguments, text_of(clip_));
    EXPECT_EQ(container.code, 65);
    EXPECT_NE(container.err.find("not as raw PCM"), std::string::npos) << container.err;
    EXPECT_NE(run(arguments, "odd").err.find("ends within a sample"), std::string::npos);
  }
}

TEST_F(Streaming, InspectSaysHowLateAVoiceIs) {
  const auto result = run({"inspect", testing::in_tree("data/voices/kathleen.safetensors").string(), "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto voice = nlohmann::json::parse(result.out)["voice"];
  // 5 frames of 11.6 ms ahead, 15 for refining, and the frame itself: what SoundLeavesBeforeTheEndOfTheInput sees.
  EXPECT_EQ(voice["lookahead_frames"], 5);
  EXPECT_NEAR(voice["lookahead_ms"].get<double>(), 58.05, 0.01);
  EXPECT_EQ(voice["first_sample_frames"], 21);
  EXPECT_NEAR(voice["first_sample_ms"].get<double>(), 243.81, 0.01);
  const auto refused = run({"synth", short_mel(24), "-o", path("x.wav"), "--latency", "5"});
  EXPECT_EQ(refused.code, 64);
  EXPECT_NE(refused.err.find("--latency 12, and 70 guesses nothing"), std::string::npos) << refused.err;
  const auto unrefined = run({"synth", short_mel(24), "-o", path("u.wav"), "--latency", "75"});
  EXPECT_EQ(unrefined.code, 0);
  EXPECT_NE(unrefined.err.find("no time to refine"), std::string::npos) << unrefined.err;
  EXPECT_EQ(run({"synth", short_mel(24), "-o", path("x.wav"), "--latency", "150"}).code, 0);
  const auto hurried = run({"synth", short_mel(24), "-o", path("y.wav"), "--latency", "20", "--json"});
  ASSERT_EQ(hurried.code, 0) << hurried.err;
  EXPECT_TRUE(nlohmann::json::parse(hurried.out)["snr_db"].is_number());
}

}  // namespace
}  // namespace melflow
