#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/corpus.h"
#include "engine/data/crop_feed.h"
#include "tests/data/recordings.h"

namespace melflow::testing {

/// Six voiced recordings in a folder, opened as a training opens them.
class CorpusTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(data());
    for (int i = 0; i < 6; ++i) write(data() / ("clip" + std::to_string(i) + ".wav"), tone(0.3 + 0.1 * i, i));
  }
  std::filesystem::path data() const { return folder_ / "data"; }
  std::filesystem::path other(const std::string& name) const { return folder_ / name; }

  std::shared_ptr<engine::Corpus> open(const std::vector<std::filesystem::path>& paths,
                                       engine::CorpusOptions options = {}) {
    options.segment_frames = 8;
    auto clips = engine::find_clips(paths, options.mel, options.workers);
    return std::make_shared<engine::Corpus>(std::move(clips), options,
                                            [this](const std::string& l) { refused_.push_back(l); });
  }
  /// The folder's recordings as a shard.
  std::filesystem::path packed(const std::string& name, int first, int last) const {
    std::vector<std::pair<std::string, std::string>> members;
    for (int i = first; i < last; ++i) {
      const auto clip = "clip" + std::to_string(i) + ".wav";
      members.emplace_back(clip, content(data() / clip));
    }
    std::ofstream(other(name), std::ios::binary) << tar(members);
    return other(name);
  }

  TempDir folder_;
  std::vector<std::string> refused_;
};

/// The samples and mels of some batches, in order.
inline std::vector<float> heard(const std::shared_ptr<engine::Corpus>& corpus, int workers, int64_t first,
                                int64_t count, const engine::Augmentation& augmentation = {}) {
  engine::CropFeed feed(
      corpus,
      {.batch_size = 3, .warmup_frames = 2, .lookahead_frames = 3, .augmentation = augmentation, .workers = workers});
  std::vector<float> out;
  for (int64_t batch = first; batch < first + count; ++batch) {
    const auto crops = feed.take(batch);
    out.insert(out.end(), crops.x.begin(), crops.x.end());
    out.insert(out.end(), crops.mel.begin(), crops.mel.end());
  }
  return out;
}

}  // namespace melflow::testing
