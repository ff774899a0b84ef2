// One binary for every x86-64: the loader picks the widest clone of a marked function that the processor has. Other
// compilers and processors build it once, for their baseline. Results are equal: no flag here lets a compiler fuse or
// reorder arithmetic.
#pragma once

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define WATCHLINE_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WATCHLINE_CLONES
#endif
