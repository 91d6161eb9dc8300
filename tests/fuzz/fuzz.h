// What every fuzz target uses: the entry point's type, and reading an input piece by piece. A target states its promises with CB_ASSERT, which ends the
// process; libFuzzer then keeps the input. Single-threaded.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string_view>

#include "base/assert.h"
#include "base/buf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// An input as a row of fields: bytes that steer, and texts that end at a NUL (or at the end).
struct FuzzInput {
    std::string_view rest;
};

inline FuzzInput fuzz_input(const uint8_t *data, size_t size) { return {{(const char *)data, size}}; }

// 0 when nothing is left.
inline uint8_t fuzz_byte(FuzzInput &in) {
    if (in.rest.empty()) return 0;
    uint8_t byte = (uint8_t)in.rest[0];
    in.rest.remove_prefix(1);
    return byte;
}

inline std::string_view fuzz_field(FuzzInput &in) {
    size_t end = in.rest.find('\0');
    std::string_view field = in.rest.substr(0, end);
    in.rest.remove_prefix(end == in.rest.npos ? in.rest.size() : end + 1);
    return field;
}

// A broken promise that is about two texts: both are shown.
inline void fuzz_equal(std::string_view a, std::string_view b, const char *what) {
    if (a == b) return;
    fprintf(stderr, "%s:\n--- %.*s\n--- %.*s\n", what, (int)a.size(), a.data(), (int)b.size(), b.data());
    abort();
}
