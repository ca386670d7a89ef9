#pragma once

#include <cstdint>

// What four warps ask of Hopper's tensor cores in one instruction (PTX ISA, wgmma.mma_async): sums [64, 8·n] of a
// warpgroup += a [64, 16] · b [8·n, 16]ᵀ, both in shared memory; thread t holds, of rows 16·(t / 32) + t % 32 / 4 and
// eight below, columns 8·j + t % 4 · 2 and the next in d[j], as mma.m16n8k16 has them. Only sm_90a knows it.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define MELFLOW_HAS_WGMMA 1

namespace melflow::gpu {

#define MELFLOW_4(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define MELFLOW_32(j)                                                                                               \
  MELFLOW_4(j), MELFLOW_4((j) + 1), MELFLOW_4((j) + 2), MELFLOW_4((j) + 3), MELFLOW_4((j) + 4), MELFLOW_4((j) + 5), \
      MELFLOW_4((j) + 6), MELFLOW_4((j) + 7)
// The numbers of ten operands: 10·tens and on.
#define MELFLOW_TEN(tens)                                                                                   \
  "%" #tens "0,%" #tens "1,%" #tens "2,%" #tens "3,%" #tens "4,%" #tens "5,%" #tens "6,%" #tens "7,%" #tens \
  "8,%" #tens "9,"
#define MELFLOW_FIRST_TEN "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,"
#define MELFLOW_WGMMA(n) "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {"
#define MELFLOW_ADDED ", 1, 1, 1, 0, 0;"  // to what is there; neither negated nor transposed

template <int n>
struct Wgmma;

template <>
struct Wgmma<1> {
  static __device__ __forceinline__ void add(float (&d)[1][4], uint64_t a, uint64_t b) {
    asm volatile(MELFLOW_WGMMA(8) "%0,%1,%2,%3}, %4, %5" MELFLOW_ADDED : MELFLOW_4(0) : "l"(a), "l"(b));
  }
};

template <>
struct Wgmma<8> {
  static __device__ __forceinline__ void add(float (&d)[8][4], uint64_t a, uint64_t b) {
    asm volatile(MELFLOW_WGMMA(64) MELFLOW_FIRST_TEN MELFLOW_TEN(1) MELFLOW_TEN(2) "%30,%31}, %32, %33" MELFLOW_ADDED
                 : MELFLOW_32(0)
                 : "l"(a), "l"(b));
  }
};

template <>
struct Wgmma<16> {
  static __device__ __forceinline__ void add(float (&d)[16][4], uint64_t a, uint64_t b) {
    asm volatile(MELFLOW_WGMMA(128) MELFLOW_FIRST_TEN MELFLOW_TEN(1) MELFLOW_TEN(2) MELFLOW_TEN(3) MELFLOW_TEN(4)
                     MELFLOW_TEN(5) "%60,%61,%62,%63}, %64, %65" MELFLOW_ADDED
                 : MELFLOW_32(0), MELFLOW_32(8)
                 : "l"(a), "l"(b));
  }
};

template <>
struct Wgmma<32> {
  static __device__ __forceinline__ void add(float (&d)[32][4], uint64_t a, uint64_t b) {
    asm volatile(MELFLOW_WGMMA(256) MELFLOW_FIRST_TEN MELFLOW_TEN(1) MELFLOW_TEN(2) MELFLOW_TEN(3) MELFLOW_TEN(4)
                     MELFLOW_TEN(5) MELFLOW_TEN(6) MELFLOW_TEN(7) MELFLOW_TEN(8) MELFLOW_TEN(9) MELFLOW_TEN(10)
                         MELFLOW_TEN(11) "%120,%121,%122,%123,%124,%125,%126,%127}, %128, %129" MELFLOW_ADDED
                 : MELFLOW_32(0), MELFLOW_32(8), MELFLOW_32(16), MELFLOW_32(24)
                 : "l"(a), "l"(b));
  }
};

#undef MELFLOW_4
#undef MELFLOW_32
#undef MELFLOW_TEN
#undef MELFLOW_FIRST_TEN
#undef MELFLOW_WGMMA
#undef MELFLOW_ADDED

}  // namespace melflow::gpu
#endif
