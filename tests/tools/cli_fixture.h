#pragma once

#include <string>
#include <vector>

#include "engine/files/mel_file.h"
#include "tests/tools/program.h"

namespace melflow::testing {

/// A folder, the program, and something short to speak.
class CliFixture : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  Result run(const std::vector<std::string>& arguments, const std::string& input = "") const {
    return program_.run(arguments, input);
  }
  void put(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }

  /// The first frames of the shipped sample mel, again and again where they are not enough: quick to speak.
  audio::Mel part_of_sample(int frames) const {
    const auto whole = files::read_mel(in_tree("data/samples/sentence.npy"));
    audio::Mel part{whole.n_mels, frames, {}, {}};
    for (int m = 0; m < whole.n_mels; ++m) {
      for (int t = 0; t < frames; ++t) {
        part.values.push_back(whole.values[static_cast<size_t>(m * whole.frames + (20 + t) % whole.frames)]);
      }
    }
    return part;
  }
  std::string short_mel(int frames = 24) const {
    files::write_mel(path("short.npy"), part_of_sample(frames), AtomicFile::Existing::replace);
    return path("short.npy");
  }

  /// The shipped voice's own sound, raw pcm16: a recording of a speaker that it knows.
  std::string spoken_pcm(size_t samples) const {
    const auto result = run({"synth", short_mel(static_cast<int>(samples / 256) + 1), "-o", "-", "--raw"});
    EXPECT_EQ(result.code, 0) << result.err;
    return result.out.substr(0, 2 * samples);
  }

  TempDir folder_;
  Program program_{folder_.path()};
  const std::string clip_ = in_tree("data/golden/LJ001-0002.wav").string();
};

}  // namespace melflow::testing
