#pragma once

#include "engine/gpu/portable.h"

namespace melflow::gpu {

/// Where one stream of a batch stands, in groups of samples. Kernels read it from device memory, so that a recorded
/// pass can be replayed for any position.
struct Slot {
  int32_t position;  ///< the first group that enters with this pass
  int32_t total;     ///< groups that exist: beyond is zero padding; 0 in a slot that nobody uses
};

/// One row of a pass, at an absolute time.
struct RowAt {
  int32_t slot, time, total;
  MELFLOW_DEVICE bool exists(int32_t shift = 0) const { return time + shift >= 0 && time + shift < total; }
};

/// The rows that a launch computes: `count` of each of `slots`, from position / unit - lag on. A layer that sees d rows
/// to each side lags d behind the one before it; so each row is computed once, however the sound is cut into passes.
struct Rows {
  const Slot* slot;
  int32_t slots, count;
  int32_t lag;
  int32_t unit;  ///< groups in a row: 1, or those of a mel frame

  template <class Block>
  MELFLOW_DEVICE RowAt at(Block& block, int32_t row) const {
    if (row >= slots * count) return {0, 0, 0};
    // A single stream's rows, and groups, need no division: there the first copies wait for this.
    const int32_t of = slots == 1 ? 0 : static_cast<int32_t>(static_cast<uint32_t>(row) / static_cast<uint32_t>(count));
    const auto s = block.template read<Slot>(slot + of);
    if (unit == 1) return {of, s.position - lag + row - of * count, s.total};
    return {of, s.position / unit - lag + row - of * count, s.total / unit};
  }
  /// No row of [first, first + rows) exists. May say no where that is so, in the rare tile that spans slots.
  template <class Block>
  MELFLOW_DEVICE bool none(Block& block, int32_t first, int32_t rows) const {
    const int32_t end = first + rows < slots * count ? first + rows : slots * count;
    const RowAt a = at(block, first), b = at(block, end - 1);
    return a.slot == b.slot && (a.time >= a.total || b.time < 0);
  }
};

/// Rows in device memory by absolute time, of every slot: [slots, ring, stride].
template <typename T>
struct Ring {
  T* values;
  int32_t ring, stride;

  /// Which row of all; time ≥ 0.
  MELFLOW_DEVICE int32_t row(int32_t slot, int32_t time) const {
    return slot * ring + static_cast<int32_t>(static_cast<uint32_t>(time) % static_cast<uint32_t>(ring));
  }
  MELFLOW_DEVICE T* at(int32_t row) const { return values + static_cast<int64_t>(row) * stride; }
};

}  // namespace melflow::gpu
