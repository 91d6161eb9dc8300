// What every unit test wants: cmocka for C++, checks that name the row of a table that failed, and a look at a process
// that is meant to die. Used by tests/unit/test_*.cpp only; single-threaded.
#pragma once

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string_view>

// Fails with a message of one's own, for tables: check(got == row.want, "%s: got %d", row.text, got).
#define check(holds, ...) ((holds) ? (void)0 : (print_error("" __VA_ARGS__), print_error("\n"), _fail(__FILE__, __LINE__)))

// cmocka casts to an integer, which what only has `explicit operator bool` does not like.
#undef assert_true
#undef assert_false
#define assert_true(holds) _assert_true((bool)(holds), #holds, __FILE__, __LINE__)
#define assert_false(holds) _assert_true(!(holds), "!(" #holds ")", __FILE__, __LINE__)

// A string literal's bytes, NULs inside included.
#define bytes_of(literal) std::string_view(literal, sizeof(literal) - 1)

// Two texts are the same bytes; `where` names the example.
inline void check_text(std::string_view got, std::string_view want, const char *where) {
    if (got == want) return;
    fail_msg("%s: got \"%.*s\" (%zu bytes), want \"%.*s\" (%zu bytes)", where, (int)got.size(), got.data(), got.size(), (int)want.size(),
             want.data(), want.size());
}

// Whether valgrind runs this, which is slow and counts descriptors in its own way.
inline bool under_valgrind() {
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded != nullptr && strstr(preloaded, "vgpreload") != nullptr;
}

// True when `act` ends the process by SIGABRT, which is what CB_ASSERT and running out of memory do.
template <typename Act>
bool aborts(Act act) {
    fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL); // not cmocka's, which would go on
        fclose(stderr);
        close(2);
        act();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}
