// What the parts of the simulation share: the seed's numbers, the clock, the trace, and how a broken promise ends a run. Single-threaded.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string_view>

struct Sim {
    uint64_t seed;
    uint32_t step;
    uint64_t now_us;             // monotonic
    int64_t wall_offset_ms;
    bool is_verbose, is_healing; // healing: no more faults, everything arrives
};
extern Sim sim;

void sim_begin(uint64_t seed);
uint32_t below(uint32_t bound);          // [0, bound)
inline uint32_t between(uint32_t low, uint32_t high) { return low + below(high - low + 1); }
inline bool chance(uint32_t per_mille) { return below(1000) < per_mille; }
inline bool fault(uint32_t per_mille);   // a chance that heals

inline bool fault(uint32_t per_mille) { return !sim.is_healing && per_mille && chance(per_mille); }

// A line of the trace: kept for a breach, or printed.
[[gnu::format(printf, 1, 2)]] void trace(const char *format, ...);
// A promise does not hold: prints the seed, the step and the last lines, and ends the process.
[[noreturn, gnu::format(printf, 1, 2)]] void breach(const char *format, ...);
#define promise(holds, ...) ((holds) ? (void)0 : breach(__VA_ARGS__))
