#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/kernels/thread_team.h"
#include "engine/synth/waveglow_weights.h"

namespace melflow::engine {

/// The latest rows of something that goes on in time, by their absolute number. Those of packed rows, whose bytes are a
/// multiple of 64, are aligned to it: kernels read them by whole cache lines.
class RowRing {
 public:
  RowRing() = default;
  RowRing(int64_t rows, int width)
      : rows_(rows), width_(width), values_(static_cast<size_t>(rows) * static_cast<size_t>(width)) {}
  float* at(int64_t t) { return values_.data() + t % rows_ * width_; }
  const float* at(int64_t t) const { return values_.data() + t % rows_ * width_; }
  std::byte* bytes(int64_t t) { return reinterpret_cast<std::byte*>(at(t)); }
  const std::byte* bytes(int64_t t) const { return reinterpret_cast<const std::byte*>(at(t)); }
  int64_t rows() const { return rows_; }
  size_t floats() const { return values_.size(); }

 private:
  int64_t rows_ = 1;
  int width_ = 1;
  cpu::AlignedFloats values_;
};

/// Mel frames in, what the WaveNets are told out: rows of context, one for each group of samples or one for each frame
/// (models::Conditioning), as soon as they are known.
class WaveGlowContext {
 public:
  /// The rows of the last `kept` groups stay, those of a call to push() included, which are `batch` groups at most.
  WaveGlowContext(std::shared_ptr<const WaveGlowWeights> weights, int64_t kept, int64_t batch);

  /// Takes frames [count, n_mels]; every member of a team must then call compute().
  void push(std::span<const float> frames);
  void compute(const ThreadTeam::Member& member);
  /// After compute(): those frames' rows are known.
  void computed();
  /// The mel has ended; rows that waited for later frames are known now.
  void finish();

  int64_t groups() const { return groups_; }  ///< whose context is known
  /// A row, packed in the precision of the layers.
  const std::byte* at(int64_t group) const { return packed_.bytes(group / weights_->groups_per_row); }
  size_t state_floats() const { return rows_.floats() + packed_.floats() + frames_.size(); }

 private:
  /// A convolution of three frames: its zero-padded inputs that are still needed.
  struct Stage {
    const cpu::PanelMatrix* matrix = nullptr;
    int inputs = 0;
    std::vector<float> waiting;
  };
  void encode(size_t stage, std::span<const float> row);
  /// The rows of the next `groups` groups are there.
  void pack(int64_t groups);

  std::shared_ptr<const WaveGlowWeights> weights_;
  RowRing rows_;  // of the frames that came last
  RowRing packed_;
  int64_t groups_ = 0;
  std::vector<float> frames_;  // sample_rate: the frames that the next rows are made of, [taps - 1 + new, n_mels]
  Stage stages_[2];            // frame_rate
};

}  // namespace melflow::engine
