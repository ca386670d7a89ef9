#pragma once

#include <memory>
#include <vector>

#include "engine/synth/stream.h"
#include "engine/synth/waveglow_context.h"

namespace melflow::engine {

/// WaveGlow, each layer a step behind the one before it, without LibTorch in its path: models::WaveGlow::inverse is its
/// oracle. Every layer keeps the rows that its convolution still needs, so nothing is computed twice, and what lies
/// before the first group or behind the last is zero at each layer's input, as padding makes it in one pass. A row's
/// digits do not depend on which rows are computed with it, nor by which thread: cutting changes nothing.
class WaveGlowStream : public Stream {
 public:
  WaveGlowStream(std::shared_ptr<const WaveGlowWeights> weights, std::shared_ptr<ThreadTeam> team, Noise noise,
                 double sigma);
  void add(std::span<const float> frames, std::vector<float>& out) override;
  void finish(std::vector<float>& out) override;
  /// Goes on where `other`, of the same weights, noise and sigma, is.
  void continue_from(const WaveGlowStream& other);
  /// What a stream keeps between two calls.
  size_t state_bytes() const;

 private:
  /// Groups [begin, end).
  struct Range {
    int64_t begin, end;
    int count() const { return static_cast<int>(end - begin); }
  };
  struct FlowState {
    RowRing latent;                ///< [channels], until the coupling needs it
    RowRing change;                ///< (shift, log s), while the layers add to it
    std::vector<RowRing> history;  ///< each layer's last inputs
    std::vector<RowRing> packed;   ///< the same in the layers' precision; none for float32, which is its own
  };
  /// What a member needs for itself.
  struct Scratch {
    std::vector<const std::byte*> rows;
    std::vector<const std::byte*> inputs;  // of a gate: tile_rows() of context, then as many for each tap
    std::vector<int> context_of;
    cpu::AlignedFloats sums, context_sums;
  };
  /// A layer at work.
  struct Work {
    const WaveGlowWeights::Layer* layer;
    FlowState* state;
    size_t index;              // of the layer
    Range in, out;             // the rows that came in, the rows that can now go out
    const float* fresh;        // the rows of `in`
    const RowRing* packed;     // the same, by their number in the tile
    cpu::AlignedFloats* next;  // the rows of `out`, for the layer after this
    RowRing* packed_next;      // the same, packed
  };

  /// Groups computed together, at most.
  int tile_rows() const { return weights_->kernels->tile_rows; }
  void draw_noise(int64_t groups);
  void advance(int64_t groups, std::vector<float>& out);
  void step(const ThreadTeam::Member& member, int64_t first, int count);
  void run_start(const ThreadTeam::Member& member, size_t flow, Range in);
  void run_gate(const ThreadTeam::Member& member, const Work& work);
  void run_output(const ThreadTeam::Member& member, const Work& work);
  void couple(const ThreadTeam::Member& member, size_t flow, Range rows);
  void pack_rows(const cpu::AlignedFloats& rows, int begin, int end, RowRing& packed);
  void keep_history(const ThreadTeam::Member& member, size_t flow, size_t layer, Range in);
  const float* input(const Work& work, int64_t group) const;
  const std::byte* packed_input(const Work& work, int64_t group) const;
  bool packs() const { return weights_->precision != cpu::Precision::fp32; }
  Range clip(int64_t first, int count) const;

  std::shared_ptr<const WaveGlowWeights> weights_;
  std::shared_ptr<ThreadTeam> team_;
  Noise noise_;
  float sigma_;
  WaveGlowContext context_;
  RowRing latent_;  // noise, times sigma
  std::vector<FlowState> flows_;
  int64_t drawn_ = 0;                           // groups of noise
  int64_t entered_ = 0;                         // groups that went into the first flow
  int64_t total_;                               // groups there will be; not known before finish()
  cpu::AlignedFloats rows_[2];                  // what goes from layer to layer, in turn: [tile_rows(), stride]
  cpu::AlignedFloats activation_;               // [tile_rows(), stride]
  RowRing packed_rows_[2], packed_activation_;  // the same in the layers' precision; not for float32
  cpu::AlignedFloats zeros_;                    // a row, packed or not
  std::vector<float> samples_;
  std::vector<Scratch> scratch_;
};

}  // namespace melflow::engine
