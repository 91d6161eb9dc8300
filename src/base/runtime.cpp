// The few functions that a C++ program without libstdc++ still needs: operator new and delete, and what the
// header-only parts of the standard library call when a precondition is broken. Each of the latter says one line
// and stops the process: there are no exceptions, so going on is not possible. Any thread may run these; they own
// nothing. Logging and CB_ASSERT live elsewhere, since this must work when nothing else does.
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <new>

static_assert(sizeof(time_t) == 8, "a clock of 32 bits ends in 2038: use a C library with 64 (musl, or glibc for 64-bit machines)");

namespace {

// Straight to stderr: stdio may be what is broken, and it would allocate.
[[noreturn]] void runtime_stop(const char *reason) {
    char line[256] = "chatterbox: stopped: ";
    size_t used = strlen(line);
    for (; *reason != 0 && used < sizeof line - 1; reason++) line[used++] = *reason;
    line[used++] = '\n';
    [[maybe_unused]] ssize_t written = write(STDERR_FILENO, line, used);
    abort();
}

// Nothing in src/ can go on after a failed allocation of this kind; what can, calls malloc and looks.
void *runtime_take(size_t bytes) {
    void *memory = malloc(bytes == 0 ? 1 : bytes);
    if (memory == nullptr) runtime_stop("out of memory");
    return memory;
}

} // namespace

void *operator new(size_t bytes) { return runtime_take(bytes); }
void *operator new[](size_t bytes) { return runtime_take(bytes); }
void *operator new(size_t bytes, const std::nothrow_t &) noexcept { return malloc(bytes == 0 ? 1 : bytes); }
void *operator new[](size_t bytes, const std::nothrow_t &) noexcept { return malloc(bytes == 0 ? 1 : bytes); }
void operator delete(void *memory) noexcept { free(memory); }
void operator delete[](void *memory) noexcept { free(memory); }
void operator delete(void *memory, size_t) noexcept { free(memory); }
void operator delete[](void *memory, size_t) noexcept { free(memory); }
void operator delete(void *memory, const std::nothrow_t &) noexcept { free(memory); }
void operator delete[](void *memory, const std::nothrow_t &) noexcept { free(memory); }

// The compiler refers to these by name. A static object's destructor is registered and never run: the process ends
// by _exit or return from main, and src/ keeps nothing that needs a destructor then.
extern "C" {
void *__dso_handle __attribute__((weak, visibility("hidden"))) = nullptr;
[[noreturn]] void __cxa_pure_virtual() { runtime_stop("pure virtual call"); }
}

namespace std {

[[noreturn]] void __throw_logic_error(const char *what) { runtime_stop(what); }
[[noreturn]] void __throw_invalid_argument(const char *what) { runtime_stop(what); }
[[noreturn]] void __throw_length_error(const char *what) { runtime_stop(what); }
[[noreturn]] void __throw_out_of_range(const char *what) { runtime_stop(what); }
// The format names positions (substr: %zu past %zu), which a caller's backtrace tells better.
[[noreturn]] void __throw_out_of_range_fmt(const char *what, ...) { runtime_stop(what); }
[[noreturn]] void __throw_bad_optional_access() { runtime_stop("empty optional used"); }
[[noreturn]] void __throw_bad_variant_access(const char *what) { runtime_stop(what); }
[[noreturn]] void __throw_bad_alloc() { runtime_stop("out of memory"); }
[[noreturn]] void __throw_bad_array_new_length() { runtime_stop("array too large"); }
[[noreturn]] void __throw_bad_function_call() { runtime_stop("empty function called"); }
// std::span and friends assert through this when _GLIBCXX_ASSERTIONS is on.
[[noreturn]] void __glibcxx_assert_fail(const char *file, int line, const char *function, const char *condition) noexcept;
void __glibcxx_assert_fail(const char *, int, const char *, const char *condition) noexcept {
    runtime_stop(condition != nullptr ? condition : "unreachable");
}

const nothrow_t nothrow{};

} // namespace std
