// A token bucket: `burst` at once, then `per_second`. Monotonic clock, 16 bytes, no timer. One thread at a time.
#pragma once

#include <stdint.h>

struct Rate {
    uint32_t burst = 0; // 0: no limit
    double per_second = 0;
};

struct Bucket {
    uint64_t at_ms = 0;   // when `level` was right; 0: never used, so full
    float level = 0;
};

// Takes `cost` tokens. Returns 0 when they were there, else the milliseconds until they will be (nothing is taken).
uint32_t bucket_take(Bucket &b, const Rate &rate, uint64_t now_ms, float cost = 1);
// Parses "BURST/PER_SECOND" or "off". False when it is neither.
bool rate_parse(const char *text, Rate *out);
