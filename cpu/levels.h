#pragma once

namespace melflow::cpu {

// The levels of the x86-64 ABI, by what our kernels need of them: clang's builtin does not know the levels' names.
// Kernels of a level are compiled for it by -march or an attribute, and called where its function says so.
#if defined(__x86_64__)

/// AVX2 and its companions.
inline bool has_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

/// AVX-512 as all CPUs have it that have any, but for the first.
inline bool has_v4() {
  return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

#else

inline bool has_v3() { return false; }
inline bool has_v4() { return false; }

#endif

/// For who has several versions of a kernel, and for tests, which want each that the machine can run.
enum class Level { any, v3, v4 };
inline Level best_level() { return has_v4() ? Level::v4 : has_v3() ? Level::v3 : Level::any; }

}  // namespace melflow::cpu
