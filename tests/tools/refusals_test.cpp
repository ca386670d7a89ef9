// What the command line refuses, and that nothing is lost by it.

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "engine/files/npy.h"
#include "tests/tools/cli_fixture.h"

namespace melflow {
namespace {

using melflow::testing::text_of;
using nlohmann::json;

using Refusals = melflow::testing::CliFixture;

TEST_F(Refusals, NothingIsOverwrittenWithoutForce) {
  put("m.npy", "precious");
  const auto refused = run({"mel", clip_, "-o", path("m.npy")});
  EXPECT_EQ(refused.code, 73);
  EXPECT_NE(refused.err.find("--force"), std::string::npos);
  EXPECT_EQ(text_of(path("m.npy")), "precious");
  EXPECT_EQ(run({"mel", clip_, "-o", path("m.npy"), "--force"}).code, 0);
  EXPECT_NE(text_of(path("m.npy")), "precious");
}

TEST_F(Refusals, NamesInMessagesSayNothingToATerminal) {
  for (const std::string sign :
       {"\x1b[2J", "\n", "\xc2\x9b", "\xe2\x80\xae", "\xe2\x80\xa8", "\xe2\x81\xa6", "\xd8\x9c"}) {
    const auto missing = run({"synth", path("a" + sign + "b.npy"), "-o", path("o.wav")});
    EXPECT_EQ(missing.code, 66);
    EXPECT_EQ(missing.err.find(sign + "b"), std::string::npos) << missing.err;
    EXPECT_NE(missing.err.find("a?"), std::string::npos) << missing.err;
  }
  EXPECT_NE(run({"synth", path("s\xc3\xbc\xc3\x9f \xe2\x82\xac.npy"), "-o", path("o.wav")})
                .err.find("s\xc3\xbc\xc3\x9f \xe2\x82\xac.npy"),
            std::string::npos);
}

TEST_F(Refusals, WhatWasMeantIsSaidWhereItIsNear) {
  const auto said = [&](const std::vector<std::string>& words) { return run(words).err; };
  EXPECT_NE(said({"synth", short_mel(), "--ouput", "x.wav"}).find("did you mean --out?"), std::string::npos);
  EXPECT_NE(said({"synht"}).find("did you mean 'synth'?"), std::string::npos);
  EXPECT_NE(
      said({"synth", short_mel(), "-o", path("x.wav"), "--voice", "mine"}).find("; there are kathleen, universal"),
      std::string::npos);
  EXPECT_NE(said({"mel", short_mel(), "-o", path("m.npy")}).find("and no recording"), std::string::npos);
  EXPECT_NE(said({"score", short_mel()}).find("and no recording"), std::string::npos);
}

/// Hours of recordings are not read for a folder that is taken.
TEST_F(Refusals, ATrainingLooksAtItsFolderFirst) {
  std::filesystem::create_directory(path("run"));
  std::ofstream(path("run/voice.safetensors")) << "somebody's";
  std::ofstream(path("file")) << "no folder";
  for (const auto& [out, said] : {std::pair{"run", "holds voice.safetensors already"}, {"file/run", "is no folder"}}) {
    const auto result = run({"train", "--data", path("none"), "-o", path(out)});
    EXPECT_EQ(result.code, 73) << result.err;
    EXPECT_NE(result.err.find(said), std::string::npos) << result.err;
  }
}

TEST_F(Refusals, ANameThatIsTooLongIsToldBeforeTheWork) {
  EXPECT_EQ(run({"synth", short_mel(), "-o", path(std::string(255, 'x') + ".wav")}).code, 73);
}

TEST_F(Refusals, WhatIsReplacedKeepsItsPermissions) {
  put("m.npy", "private");
  std::filesystem::permissions(path("m.npy"), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const auto before = ::umask(022);
  ASSERT_EQ(run({"mel", clip_, "-o", path("m.npy"), "--force"}).code, 0);
  ::umask(before);
  EXPECT_EQ(std::filesystem::status(path("m.npy")).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(Refusals, WhereVoicesAreLookedForIsTold) {
  const auto in_folder = [&](const std::string& folder, const std::string& words) {
    const auto command =
        "MELFLOW_VOICES='" + folder + "' " + MELFLOW_PROGRAM + " " + words + " >" + path("out") + " 2>" + path("err");
    return WEXITSTATUS(std::system(command.c_str()));
  };
  for (const auto& words : {std::string("voices"), "synth " + short_mel() + " -o " + path("x.wav")}) {
    EXPECT_EQ(in_folder(path("none"), words), 66) << words;
    EXPECT_NE(text_of(path("err")).find("MELFLOW_VOICES=" + path("none")), std::string::npos) << text_of(path("err"));
    EXPECT_EQ(in_folder("", words), 0) << text_of(path("err"));
  }
  std::filesystem::create_directory(path("odd"));
  std::filesystem::copy_file(testing::in_tree("data/voices/kathleen.safetensors"), path("odd/a\xff.safetensors"));
  EXPECT_EQ(in_folder(path("odd"), "voices --json"), 0) << text_of(path("err"));
  EXPECT_NE(text_of(path("out")).find("\"name\":\"a\xef\xbf\xbd\""), std::string::npos) << text_of(path("out"));
  // What is no voice hides none, nor does it speak to the terminal.
  std::filesystem::create_directory(path("odd/folder.safetensors"));
  std::ofstream(path("odd/\x1b[31mbad.safetensors")) << "no voice";
  EXPECT_EQ(in_folder(path("odd"), "voices"), 1);
  EXPECT_NE(text_of(path("err")).find("?[31mbad.safetensors: "), std::string::npos) << text_of(path("err"));
  EXPECT_TRUE(text_of(path("out")).starts_with("a?  CC0-1.0")) << text_of(path("out"));
}

TEST_F(Refusals, ALinkToNothingIsOneOfTheRecordingsThatFail) {
  std::filesystem::create_directory(path("data"));
  std::filesystem::copy_file(clip_, path("data/a.wav"));
  std::filesystem::create_symlink(path("gone.wav"), path("data/b\x1b[2J.wav"));
  const auto part = run({"eval", "--voice", "kathleen", "--data", path("data"), "--threads", "1"});
  EXPECT_EQ(part.code, 1) << part.err;
  EXPECT_NE(part.err.find("b?[2J.wav: is a link to nothing"), std::string::npos) << part.err;
}

TEST_F(Refusals, OutputThatIsLostIsAnError) {
  for (const std::string& words :
       std::vector<std::string>{"voices", "voices --json", "version", "--help", "inspect " + short_mel()}) {
    const auto status =
        std::system((std::string(MELFLOW_PROGRAM) + " " + words + " >/dev/full 2>" + path("err")).c_str());
    EXPECT_EQ(WEXITSTATUS(status), 74) << words;
    EXPECT_NE(text_of(path("err")).find("stdout"), std::string::npos) << words;
  }
  const auto full = std::string("ulimit -f 8; ") + MELFLOW_PROGRAM + " synth " + short_mel() + " -o " + path("o.wav");
  EXPECT_EQ(WEXITSTATUS(std::system(("bash -c '" + full + "' 2>" + path("err")).c_str())), 74) << text_of(path("err"));
  EXPECT_FALSE(std::filesystem::exists(path("o.wav")));
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);  // a reader that has had enough
  const auto child = program_.start_with({.out = ends[1]}, {"voices"});
  ::close(ends[1]);
  EXPECT_EQ(program_.wait(child).code, 0);
}

TEST_F(Refusals, WhatIsPrintedToAClosedStreamGetsIntoNoFile) {
  const auto command =
      std::string(MELFLOW_PROGRAM) + " data check " + clip_ + " --html " + path("p.html") + " >&- 2>" + path("err");
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 74) << text_of(path("err"));
  EXPECT_EQ(text_of(path("p.html")).find("<!"), 0u);
}

TEST_F(Refusals, NoInputIsLostToAnOutputAndNoOutputToAnother) {
  const auto mel = short_mel();
  std::filesystem::create_directory(path("other"));
  std::filesystem::copy_file(mel, path("other/short.npy"));
  EXPECT_EQ(run({"synth", mel, path("other/short.npy"), "-d", path("out"), "--force"}).code, 64);
  EXPECT_FALSE(std::filesystem::exists(path("out")));
  std::filesystem::copy_file(clip_, path("same.wav"));
  std::filesystem::create_symlink(path("same.wav"), path("link.wav"));
  EXPECT_EQ(run({"synth", path("same.wav"), "-o", path("link.wav"), "--force"}).code, 64);
  EXPECT_EQ(run({"synth", path("same.wav"), "-d", path(""), "--force"}).code, 64);
  EXPECT_EQ(text_of(path("same.wav")), text_of(clip_));
  EXPECT_EQ(run({"synth", mel, "-o", path("z.npy"), "--dump-z", path("z.npy")}).code, 64);
  EXPECT_FALSE(std::filesystem::exists(path("z.npy")));
  // Nor where the mel arrives in pieces.
  ASSERT_EQ(run({"synth", mel, "-o", path("a.wav"), "--dump-z", path("z.npy")}).code, 0);
  const auto noise = text_of(path("z.npy"));
  EXPECT_EQ(run({"synth", "-", "--stream", "--z", path("z.npy"), "-o", path("z.npy"), "--force"}, text_of(mel)).code,
            64);
  EXPECT_EQ(text_of(path("z.npy")), noise);
}

TEST_F(Refusals, NumbersThatAreNoneAndOutOfReachAreRefused) {
  const auto mel = short_mel(), out = path("o.wav");
  const std::pair<const char*, const char*> wrong[] = {{"--sigma", "nan"},   {"--sigma", "-1"},   {"--denoise", "nan"},
                                                       {"--latency", "inf"}, {"--start", "nan"},  {"--seed", "-1"},
                                                       {"--seed", "1e3"},    {"--threads", "nan"}};
  for (const auto& [option, value] : wrong) {
    const auto result = run({"synth", mel, "-o", out, option, value});
    EXPECT_EQ(result.code, 64) << option << " " << value;
    EXPECT_LT(result.err.size(), 300u) << result.err;
  }
  EXPECT_EQ(run({"synth", mel, "-o", out, "--seed", "18446744073709551615"}).code, 0);
  EXPECT_EQ(json::parse(run({"synth", mel, "-o", out, "--force", "--seed", "010", "--json"}).out)["seed"], 10);
  EXPECT_EQ(json::parse(run({"synth", mel, "-o", out, "--force", "--seed", "08", "--json"}).out)["seed"], 8);
  const auto set = [&](const char* value) {
    return run({"train", "--data", clip_, "--out", path("run"), "--set", value}).code;
  };
  for (const char* value : {"epsilon=0", "sigma=101", "batch_size=99999999999"}) EXPECT_EQ(set(value), 78) << value;
  EXPECT_FALSE(std::filesystem::exists(path("run")));
}

TEST_F(Refusals, AreOneLineWhateverAFileIsCalled) {
  const auto result = run({"mel", path("two\nlines\x1b[2J.wav"), "-o", path("m.npy")});
  EXPECT_EQ(result.code, 66);
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  EXPECT_EQ(result.err.find('\x1b'), std::string::npos);
}

TEST_F(Refusals, AnOptionThatWouldSayNothing) {
  const auto mel = short_mel(), out = path("o.wav");
  const std::vector<std::vector<std::string>> silent = {
      {"synth", mel, "-o", out, "--raw"},
      {"synth", mel, "-o", out, "--as", "flac"},
      {"synth", mel, "-o", out, "--chunkings", "3"},
      {"synth", mel, "-o", out, "--format", "pcm24"},
      {"mel", clip_, "-o", path("m.npy"), "--as", "png"},
      {"mel", clip_, "-o", path("m.npy"), "--rate", "8000"},
      {"mel", "-", "-o", path("m.npy"), "--rate", "8000", "--format", "pcm16", "--assume-rate", "22050"},
      {"bench", "mel", "--voice", "nobody"},
      {"bench", "stream", "--batch", "3"},
  };
  for (const auto& words : silent) {
    const auto result = run(words);
    EXPECT_EQ(result.code, 64) << words.back();
    EXPECT_NE(result.err.find("means nothing"), std::string::npos) << result.err;
  }
  EXPECT_FALSE(std::filesystem::exists(out));
  EXPECT_FALSE(std::filesystem::exists(path("m.npy")));
}

/// --force is for outputs of an earlier run, not for what is read now.
TEST_F(Refusals, NothingThatIsReadIsReplaced) {
  const auto mel = short_mel(), voice = path("v.safetensors"), named_npy = path("v.npy"), recording = path("r.wav");
  const auto shipped = testing::in_tree("data/voices/kathleen.safetensors");
  for (const auto& copy : {voice, named_npy}) std::filesystem::copy_file(shipped, copy);
  std::filesystem::copy_file(clip_, recording);
  const auto refused = [&](std::vector<std::string> arguments) {
    arguments.emplace_back("--force");
    const auto result = run(arguments);
    EXPECT_EQ(result.code, 64) << result.err;
  };
  refused({"synth", mel, "--voice", voice, "-o", path("x.wav"), "--dump-z", voice});
  refused({"synth", mel, "--voice", named_npy, "-o", named_npy});
  refused({"mel", clip_, "--recipe", voice, "-o", voice});
  refused({"eval", "--data", folder_.path().string(), "--html", recording});
  refused({"data", "check", recording, "--html", recording});
  for (const auto& copy : {voice, named_npy}) EXPECT_EQ(text_of(copy), text_of(shipped));
  EXPECT_EQ(text_of(recording), text_of(clip_));
}

TEST_F(Refusals, WhatWouldMeanNothingWithAnotherOptionIsSaid) {
  const auto mel = short_mel();
  ASSERT_EQ(run({"synth", mel, "-o", path("a.npy"), "--dump-z", path("z.npy")}).code, 0);
  EXPECT_EQ(run({"synth", mel, "-o", path("b.npy"), "--z", path("z.npy"), "--seed", "9"}).code, 64);
  EXPECT_EQ(run({"synth", mel, "-o", path("b.npy"), "--encoding", "pcm16"}).code, 64);
  auto z = files::read_npy(path("z.npy"));
  z.values[static_cast<size_t>(z.shape[1]) + 3] = NAN;
  files::write_npy(path("nan.npy"), z.shape, z.values, AtomicFile::Existing::refuse);
  const auto nan = run({"synth", mel, "-o", path("b.npy"), "--z", path("nan.npy")});
  EXPECT_EQ(nan.code, 65);
  EXPECT_NE(nan.err.find("nan.npy: noise at row 2, column 4"), std::string::npos) << nan.err;
}

TEST_F(Refusals, NamesThatNameNothingAndOutputsThatAreOne) {
  const auto mel = short_mel(), out = path("o.wav");
  EXPECT_EQ(run({"synth", mel, "-o", out, "--voice", ""}).code, 64);
  EXPECT_EQ(run({"score", clip_, "--voice", ""}).code, 64);
  EXPECT_EQ(run({"synth", mel, "-o", out, "--dump-z", "-"}).code, 64);
  EXPECT_EQ(run({"eval", "--data", path("x"), "--html", "-"}).code, 64);
  EXPECT_EQ(run({"eval", "--data", path("x"), "--voice", ""}).code, 64);
  EXPECT_FALSE(std::filesystem::exists(out));
}

// The shortest beginnings of an array, a safetensors file and of frames.
TEST_F(Refusals, AStreamThatEndsAtOnce) {
  for (const std::string& start : {std::string(), std::string("\x93NUMPY"), std::string("\x93NUMPY\2\0\0\0", 10),
                                   std::string("\x80\0\0\0\0\0\0\0{", 9), std::string(5, '\0')}) {
    const auto result = run({"synth", "-", "--stream", "--raw", "-o", "-"}, start);
    EXPECT_EQ(result.code, 65) << start.size() << " bytes: " << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
}

TEST_F(Refusals, WhatIsReadIsNotWrittenOver) {
  std::filesystem::create_directory(path("data"));
  std::filesystem::copy_file(clip_, path("data/a.wav"));
  ASSERT_EQ(run({"data", "pack", path("data"), "-o", path("s")}).code, 0);
  const auto packed = text_of(path("s-000000.tar"));
  const auto again = run({"data", "pack", path("s-000000.tar"), "-o", path("s"), "--force"});
  EXPECT_EQ(again.code, 64) << again.err;
  EXPECT_EQ(text_of(path("s-000000.tar")), packed);
  std::filesystem::rename(path("s-000000.tar"), path("s-000001.tar"));
  EXPECT_EQ(run({"data", "pack", path("s-000001.tar"), "-o", path("s"), "--force"}).code, 64);
  EXPECT_EQ(text_of(path("s-000001.tar")), packed);
  ASSERT_EQ(run({"mel", clip_, "-o", path("m.npy")}).code, 0);
  const auto mel = text_of(path("m.npy"));
  EXPECT_EQ(run({"score", clip_, "--mel", path("m.npy"), "--dump-z", path("m.npy"), "--force"}).code, 64);
  EXPECT_EQ(run({"synth", path("m.npy"), "-o", path("o.wav"), "--dump-z", path("m.npy"), "--force"}).code, 64);
  EXPECT_EQ(text_of(path("m.npy")), mel);
  const auto both = run({"synth", path("m.npy"), "-d", path("d"), "--as", "npy", "--dump-z", path("d/m.npy")});
  EXPECT_EQ(both.code, 64) << both.err;
  EXPECT_FALSE(std::filesystem::exists(path("d/m.npy")));
}

TEST_F(Refusals, MoreMemoryThanThereIsIsOneClearLine) {
  // 65,536 crops of 100 KB, where there are 6 GB.
  const auto command = std::string("ulimit -v 6000000; ") + MELFLOW_PROGRAM + " train --data " + clip_ + " --out " +
                       path("run") + " --threads 1 --set model.system=block_flow segment_frames=100 batch_size=65536 " +
                       "data_workers=0 hold_out_every=0 steps=1 2>" + path("err");
  EXPECT_EQ(WEXITSTATUS(std::system(("bash -c '" + command + "'").c_str())), 69);
  const auto message = text_of(path("err"));
  EXPECT_NE(message.find("segment_frames"), std::string::npos) << message;
  EXPECT_EQ(message.find("internal"), std::string::npos) << message;
}

}  // namespace
}  // namespace melflow
