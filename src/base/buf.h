// Buf: a growable run of bytes with one owner. Out of memory stops the process with one line: a chat server without memory
// for a few kilobytes has nothing useful left to do, and every bound in limits.h is there so that it does not come to that.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <string_view>

struct Buf {
    char *data = nullptr;
    size_t len = 0;
    size_t cap = 0;
};

// Says how much of what is freed stays with the process. Once, at the start of the program.
void mem_start();
// Gives back to the system what is free, wherever it lies. Milliseconds: after much has been freed.
void mem_trim();
// malloc, calloc, realloc that never return null. Free with free().
void *mem_alloc(size_t bytes);
void *mem_zero(size_t bytes);
void *mem_grow(void *old, size_t bytes);
// A copy with a terminating NUL, to be freed with free().
char *mem_copy(std::string_view text);

void buf_free(Buf &b);                      // gives the memory back; b is empty and usable again
void buf_grow(Buf &b, size_t more);         // what buf_reserve does when the room is not there
inline void buf_reserve(Buf &b, size_t more) { // room for `more` bytes beyond len
    if (more > b.cap - b.len) buf_grow(b, more);
}
inline void buf_add(Buf &b, std::string_view bytes) {
    if (bytes.empty()) return;
    buf_reserve(b, bytes.size());
    memcpy(b.data + b.len, bytes.data(), bytes.size()); // NOLINT(clang-analyzer-core.NonNullParamChecker): where cap is not 0 there is memory
    b.len += bytes.size();
}
inline void buf_add_char(Buf &b, char c) {
    buf_reserve(b, 1);
    b.data[b.len++] = c;
}
void buf_add_uint(Buf &b, uint64_t n);      // decimal
void buf_add_int(Buf &b, int64_t n);
[[gnu::format(printf, 2, 3)]] void buf_printf(Buf &b, const char *format, ...);
void buf_drop_front(Buf &b, size_t n);      // removes the first n bytes (memmove)
inline void buf_clear(Buf &b) { b.len = 0; }
inline std::string_view buf_view(const Buf &b) { return {b.data, b.len}; }

// A Buf that is freed at the end of its scope.
struct ScopedBuf : Buf {
    ScopedBuf() = default;
    ScopedBuf(const ScopedBuf &) = delete;
    ScopedBuf &operator=(const ScopedBuf &) = delete;
    ~ScopedBuf() { buf_free(*this); }
};
