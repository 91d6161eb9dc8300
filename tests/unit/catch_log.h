// What is written to standard error, through a pipe in its place. Used by the tests of who logs; single-threaded.
#pragma once

#include "unit.h"

inline char caught[60'000];

// What `act` writes to standard error: less than the 64 KiB that a pipe holds. Valid until the next time.
template <typename Act>
inline std::string_view catch_log(Act act) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int before = dup(2);
    dup2(ends[1], 2);
    act();
    dup2(before, 2);
    close(before);
    close(ends[1]);
    size_t length = 0;
    for (ssize_t n; (n = read(ends[0], caught + length, sizeof caught - length)) > 0;) length += (size_t)n;
    close(ends[0]);
    return {caught, length};
}
