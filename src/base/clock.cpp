// The clocks, straight from the system: no state, any thread.
#include "base/clock.h"

#include <time.h>

#include "base/assert.h"
#include "version.h" // CB_BUILD_DATE_MS, made by the Makefile

namespace {

timespec clock_read(clockid_t id) {
    timespec now;
    int failed = clock_gettime(id, &now);
    CB_ASSERT(failed == 0);
    return now;
}

} // namespace

uint64_t clock_ms() {
    timespec now = clock_read(CLOCK_MONOTONIC);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_us() {
    timespec now = clock_read(CLOCK_MONOTONIC);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int64_t clock_wall_ms() {
    timespec now = clock_read(CLOCK_REALTIME);
    return (int64_t)now.tv_sec * 1000 + (int64_t)now.tv_nsec / 1000000;
}

bool clock_is_set() { return clock_wall_ms() >= (int64_t)CB_BUILD_DATE_MS; }
