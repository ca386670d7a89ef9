#pragma once

#include <cstddef>
#include <span>

namespace melflow::cpu {

/// How the numbers of a product are stored; sums are float32 in each.
enum class Precision {
  fp32,
  bf16,  ///< rows and weights rounded to bfloat16
  int8,  ///< eight bits, with a scale for each row and one for each column of a run
};
inline constexpr Precision kPrecisions[] = {Precision::fp32, Precision::bf16, Precision::int8};

/// "fp32", "bf16", "int8".
const char* name_of(Precision precision);

/// Rows and panels are made of words of four bytes, of one, two or four numbers.
constexpr int numbers_in_word(Precision p) { return p == Precision::fp32 ? 1 : p == Precision::bf16 ? 2 : 4; }
constexpr int words_of(Precision p, int depth) { return (depth + numbers_in_word(p) - 1) / numbers_in_word(p); }

/// A packed row of int8 begins with its scale, so that numbers stay aligned.
constexpr int row_header(Precision p) { return p == Precision::int8 ? 64 : 0; }
/// Bytes of a packed row of `depth` numbers, a multiple of 64. Bytes of zero are numbers of zero.
constexpr int row_bytes(Precision p, int depth) { return row_header(p) + (4 * words_of(p, depth) + 63) / 64 * 64; }

/// A part of a sum: `words` words of each row, from word `first` on, times as many rows of a panel.
struct TileRun {
  const std::byte* const* rows;
  ptrdiff_t first;
  const std::byte* panel;  ///< [words, width]; what int8 adds lies behind them
  int words;
};

/// Products of rows with the panels of a PanelMatrix, for one precision.
struct TileProduct {
  int run;        ///< the words of a TileRun, at most
  int row_block;  ///< rows computed together; shares that are a multiple of it waste nothing

  /// Writes a row of `count` numbers, and nothing behind them, where in bf16 and int8 finite numbers must lie up to
  /// row_bytes(). A row with NaN stays one: its products are NaN, all of them in int8, whose scale is the row's largest
  /// number. float32 is its own packed form: a plain copy.
  void (*pack_row)(const float* row, int count, std::byte* packed);

  /// sums[r][c] += Σ_w rows[r][first + w]·panel[w][c] for each of `n` runs in order, 0 ≤ r < count, 0 ≤ c < width. In
  /// which order a run is summed up depends on its length alone, not on the rows: a row has the same bits among any
  /// others. Panels and `sums` are aligned to 64 bytes, and a run begins at a multiple of TileProduct::run.
  void (*multiply)(const TileRun* runs, int n, int count, float* sums);

  /// Multiply-adds as fast as this instruction set does them, out of registers alone: what multiply() is measured
  /// against. A round is `peak_operations` operations.
  void (*peak)(long rounds);
  double peak_operations;
};

/// Rows of a tile that keep between two layers to a second-level cache of 1 MB, and are still many for each weight that
/// is read: 192 of 256 channels.
inline constexpr int kTileRows = 192;

/// The inner loops of a network that runs over tiles of time: rows are points in time, a panel holds the weights of
/// a few outputs side by side. One set for each instruction set, all from one template (tile_kernels_lanes.h) but for
/// the products of AMX; the plain set is their oracle. A row's digits never depend on which rows share its tile, which
/// is what makes streaming equal offline synthesis bit for bit.
struct TileKernels {
  const char* name;
  int width;                ///< columns of a panel, an even number
  int tile_rows;            ///< rows of a tile, at most
  TileProduct products[3];  ///< by Precision

  /// out[r·stride + c] = tanh(sums[r][c])·sigmoid(sums[r][width/2 + c]) for 0 ≤ c < width/2. Absolute error below 3e-7;
  /// NaN stays NaN.
  void (*gate)(const float* sums, int count, float* out, ptrdiff_t stride);

  /// The gate's order of the columns of a matrix, of `channels` for tanh and as many for the sigmoid: where column c of
  /// the 2·channels lies, and how many there are, those that are missing among them.
  int gate_column(int c, int channels) const {
    const int half = width / 2, channel = c % channels;
    return channel / half * width + c / channels * half + channel % half;
  }
  int gate_columns(int channels) const { return (channels + width / 2 - 1) / (width / 2) * width; }

  const TileProduct& product(Precision p) const { return products[static_cast<int>(p)]; }
};

/// Scalar loops, sums in double, std::tanh and std::exp.
const TileKernels& plain_tile_kernels();

/// All that this machine can run, the fastest first; the plain set is not among them.
std::span<const TileKernels* const> runnable_tile_kernels();

/// The fastest of them.
inline const TileKernels& tile_kernels() { return *runnable_tile_kernels().front(); }

}  // namespace melflow::cpu
