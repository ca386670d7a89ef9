#pragma once

#include <initializer_list>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace melflow::cpu {

// The levels of the x86-64 ABI, by what our kernels need of them: clang's builtin does not know the levels' names.
// Kernels of a level are compiled for it by -march or an attribute, and called where its function says so.
#if defined(__x86_64__)

/// AVX2 and its companions.
inline bool has_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

/// And VPDPBUSD, which multiplies bytes by fours, on vectors of AVX2: Intel's CPUs since Alder Lake (of which only
/// servers' have AVX-512, too), AMD's since Zen 5.
inline bool has_v3_vnni() {
  constexpr unsigned kAvxVnni = 1u << 4;
  unsigned a = 0, b = 0, c = 0, d = 0;  // what GCC's builtin knows and clang's does not
  return has_v3() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvxVnni) != 0;
}

/// AVX-512 as all CPUs have it that have any, but for the first.
inline bool has_v4() {
  return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/// And VPDPBUSD on its vectors: Intel's servers since Cascade Lake, AMD's CPUs since Zen 4.
inline bool has_v4_vnni() { return has_v4() && __builtin_cpu_supports("avx512vnni"); }

/// AMD's CPUs whose units are as wide as AVX-512's registers: Zen 5 (family 26) and later. On Zen 4, whose are half as
/// wide, AVX2 has the same peak.
inline bool has_v4_of_amd_in_full() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!has_v4() || !__builtin_cpu_is("amd") || __get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return false;
  return ((eax >> 8) & 0xf) + ((eax >> 20) & 0xff) >= 26;
}

#else

inline bool has_v3() { return false; }
inline bool has_v3_vnni() { return false; }
inline bool has_v4() { return false; }
inline bool has_v4_vnni() { return false; }
inline bool has_v4_of_amd_in_full() { return false; }

#endif

/// For who has several versions of a kernel, and for tests, which want each that the machine can run.
enum class Level { any, v3, v3_vnni, v4, v4_vnni };
/// Whether this machine has what a level asks for.
inline bool has(Level level) {
  switch (level) {
    case Level::any:
      return true;
    case Level::v3:
      return has_v3();
    case Level::v3_vnni:
      return has_v3_vnni();
    case Level::v4:
      return has_v4();
    case Level::v4_vnni:
      return has_v4_vnni();
  }
  return false;
}
inline Level best_level() {
  static const Level best = [] {  // asked once: a virtual CPU answers slowly
    for (const auto level : {Level::v4_vnni, Level::v4, Level::v3_vnni, Level::v3}) {
      if (has(level)) return level;
    }
    return Level::any;
  }();
  return best;
}

}  // namespace melflow::cpu
