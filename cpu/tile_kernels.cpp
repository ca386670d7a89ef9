#include "cpu/tile_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(MELFLOW_X86_KERNELS) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "cpu/levels.h"

namespace melflow::cpu {

extern const TileKernels kPortableTileKernels, kAvx2TileKernels, kPairedTileKernels, kAvx512TileKernels;
extern const TileProduct kAvxVnniProduct, kAvx512Bf16Product, kAvx512VnniProduct, kAmxBf16Product, kAmxInt8Product;

namespace {

constexpr int kPlainWidth = 8;

template <typename T>
T read(const std::byte* p) {
  T out;
  std::memcpy(&out, p, sizeof out);
  return out;
}

/// Of a bfloat16.
float widened(const std::byte* p) { return std::bit_cast<float>(uint32_t{read<uint16_t>(p)} << 16); }

/// Word by word, number by number.
template <Precision kPrecision>
void plain_multiply(const TileRun& run, int count, float* sums) {
  const auto& [rows, first, panel, words] = run;
  const std::byte* tail = panel + 4 * static_cast<ptrdiff_t>(words) * kPlainWidth;
  for (int r = 0; r < count; ++r) {
    const std::byte* row = rows[r] + row_header(kPrecision) + 4 * first;
    for (int c = 0; c < kPlainWidth; ++c) {
      double sum = 0;
      for (int k = 0; k < words; ++k) {
        const std::byte *x = row + 4 * k, *w = panel + 4 * (k * kPlainWidth + c);
        if constexpr (kPrecision == Precision::fp32) {
          sum += static_cast<double>(read<float>(x)) * read<float>(w);
        } else if constexpr (kPrecision == Precision::bf16) {
          for (int i = 0; i < 2; ++i) {
            sum += static_cast<double>(widened(x + 2 * i)) * widened(w + 2 * i);
          }
        } else {
          for (int i = 0; i < 4; ++i) sum += (read<uint8_t>(x + i) - 128) * read<int8_t>(w + i);
        }
      }
      if (kPrecision == Precision::int8) sum *= static_cast<double>(read<float>(rows[r])) * read<float>(tail + 4 * c);
      sums[r * kPlainWidth + c] = static_cast<float>(sums[r * kPlainWidth + c] + sum);
    }
  }
}

template <Precision kPrecision>
void plain_multiply(const TileRun* runs, int n, int count, float* sums) {
  std::for_each_n(runs, n, [&](const TileRun& run) { plain_multiply<kPrecision>(run, count, sums); });
}

void plain_pack_fp32(const float* row, int count, std::byte* packed) {
  std::memcpy(packed, row, 4 * static_cast<size_t>(count));
}

void plain_pack_bf16(const float* row, int count, std::byte* packed) {
  for (int i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<uint32_t>(row[i]);
    uint32_t half = bits >> 16;
    const uint32_t rest = bits & 0xffff;
    if (rest > 0x8000 || (rest == 0x8000 && half % 2 == 1)) ++half;
    const auto out = static_cast<uint16_t>(std::isnan(row[i]) ? 0x7fc0 : half);
    std::memcpy(packed + 2 * i, &out, sizeof out);
  }
}

void plain_pack_int8(const float* row, int count, std::byte* packed) {
  float limit = 0;
  for (int i = 0; i < count; ++i) limit = std::fmax(limit, std::abs(row[i]));
  if (!std::all_of(row, row + count, [](float x) { return std::isfinite(x); })) limit = std::nanf("");
  const float scale = limit / 127;
  std::memcpy(packed, &scale, sizeof scale);
  for (int i = 0; i < count; ++i) {
    const float x = limit > 1e-30f ? row[i] * (127 / limit) : 0;
    packed[row_header(Precision::int8) + i] = static_cast<std::byte>(static_cast<int>(std::floor(x + 0.5f)) + 128);
  }
}

void plain_gate(const float* sums, int count, float* out, ptrdiff_t stride) {
  for (int r = 0; r < count; ++r, sums += kPlainWidth) {
    for (int c = 0; c < kPlainWidth / 2; ++c) {
      const double a = sums[c], b = sums[kPlainWidth / 2 + c];
      out[r * stride + c] = static_cast<float>(std::tanh(a) / (1 + std::exp(-b)));
    }
  }
}

void plain_peak(long rounds) {
  volatile float sum = 1;
  for (long n = 0; n < rounds; ++n) sum = sum * 0.999f + 0.001f;
}

#ifdef MELFLOW_X86_KERNELS
/// A set with products of other instructions; bfloat16 is widened where there are none for it.
TileKernels with_products(const TileKernels& set, const char* name, const TileProduct* bf16, const TileProduct& int8) {
  TileKernels out = set;
  out.name = name;
  if (bf16 != nullptr) out.products[static_cast<int>(Precision::bf16)] = *bf16;
  out.products[static_cast<int>(Precision::int8)] = int8;
  return out;
}

/// Whether this process may use the tiles of AMX. Linux is asked for them, for all threads, since it keeps their 8 KB
/// for nobody who has not (Documentation/arch/x86/xstate.rst); from then on an alternate stack for signals must have
/// room for them, and where one has not, it says no.
bool may_use_amx() {
#ifdef __linux__
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25, kAll = kBf16 | kTile | kInt8;
  constexpr int kAskForState = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kAll) == kAll &&
         syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
#else
  return false;
#endif
}

/// Weights come more slowly than AMX uses them up: more rows for each, in the second-level cache of 2 MB that these
/// processors have.
TileKernels amx_kernels() {
  TileKernels out = with_products(kAvx512TileKernels, "avx512 with amx", &kAmxBf16Product, kAmxInt8Product);
  out.tile_rows = 2 * kTileRows;
  return out;
}

void find_avx512(std::vector<const TileKernels*>& out) {
  static const TileKernels amx = amx_kernels(),
                           vnni = with_products(kAvx512TileKernels, "avx512 with vnni", nullptr, kAvx512VnniProduct),
                           bf16 = with_products(kAvx512TileKernels, "avx512 with bf16 and vnni", &kAvx512Bf16Product,
                                                kAvx512VnniProduct);
  if (may_use_amx()) out.push_back(&amx);
  const bool has_vnni = cpu::has_v4_vnni();
  // Intel's multiply pairs of bfloat16 at half the speed of float32 (82 and 160 GFLOP/s of a Xeon's core), AMD's at
  // twice.
  if (__builtin_cpu_is("intel") && has_vnni) out.push_back(&vnni);
  if (has_vnni && __builtin_cpu_supports("avx512bf16")) out.push_back(&bf16);
  if (!__builtin_cpu_is("intel") && has_vnni) out.push_back(&vnni);
  out.push_back(&kAvx512TileKernels);
}

void find_avx2(std::vector<const TileKernels*>& out) {
  static const TileKernels vnni = with_products(kAvx2TileKernels, "avx2 with vnni", nullptr, kAvxVnniProduct);
  if (cpu::has_v3_vnni()) out.push_back(&vnni);
  out.push_back(&kAvx2TileKernels);
  out.push_back(&kPairedTileKernels);
}
#endif

std::vector<const TileKernels*> find_runnable() {
  std::vector<const TileKernels*> out;
#ifdef MELFLOW_X86_KERNELS
  if (cpu::has_v4()) find_avx512(out);
  if (cpu::has_v3()) find_avx2(out);
#endif
  out.push_back(&kPortableTileKernels);
  return out;
}

}  // namespace

const char* name_of(Precision precision) {
  return precision == Precision::fp32 ? "fp32" : precision == Precision::bf16 ? "bf16" : "int8";
}

const TileKernels& plain_tile_kernels() {
  static constexpr TileKernels plain{"plain",
                                     kPlainWidth,
                                     kTileRows,
                                     {{1 << 20, 1, plain_pack_fp32, plain_multiply<Precision::fp32>, plain_peak, 2.0},
                                      {1 << 20, 1, plain_pack_bf16, plain_multiply<Precision::bf16>, plain_peak, 2.0},
                                      {64, 1, plain_pack_int8, plain_multiply<Precision::int8>, plain_peak, 2.0}},
                                     plain_gate};
  return plain;
}

std::span<const TileKernels* const> runnable_tile_kernels() {
  static const std::vector<const TileKernels*> runnable = find_runnable();
  return runnable;
}

}  // namespace melflow::cpu
