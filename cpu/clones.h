#pragma once

/// Put before a function whose plain loops are worth a version for each generation of x86 CPU: the one that fits is
/// chosen when the program starts. Not under sanitizers, whose runtime is not up yet when that choice is made.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define MELFLOW_CPU_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MELFLOW_CPU_CLONES
#endif
