// Two clocks. The monotonic one decides (rates, deadlines, pings, presence); the wall clock is only shown and stored. Any thread.
#pragma once

#include <stdint.h>

uint64_t clock_ms();        // monotonic, milliseconds
uint64_t clock_us();        // monotonic, microseconds
int64_t clock_wall_ms();    // Unix epoch, UTC, 64-bit on every machine
bool clock_is_set();        // false while the wall clock is before the build's date (PROTOCOL §4): then nothing expires by it
