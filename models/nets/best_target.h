#pragma once

/// Put before a function of plain loops: compiled for what the machine may have; the loader takes the best. (audio/ has
/// the like, with care for the sanitizers, under which nothing of LibTorch's is built here.)
#if defined(__x86_64__)
#define MELFLOW_BEST_TARGET __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define MELFLOW_BEST_TARGET
#endif
