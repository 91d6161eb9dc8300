// Memory that never fails and growable bytes. Owns nothing by itself; a Buf belongs to whoever declared it. Any thread,
// each Buf one at a time.
#include "base/buf.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

namespace {

[[noreturn]] void memory_gone() {
    static const char line[] = "chatterbox: out of memory\n";
    [[maybe_unused]] ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
    abort();
}

} // namespace

// What a turn frees, the next one needs: given back and taken anew, it costs as much as the turn's work in the database. Only glibc has this knob.
void mem_start() {
#ifdef M_TRIM_THRESHOLD
    mallopt(M_TRIM_THRESHOLD, 512 * 1024);
    mallopt(M_MMAP_THRESHOLD, 512 * 1024);
#endif
}

void mem_trim() {
#ifdef M_TRIM_THRESHOLD
    malloc_trim(0);
#endif
}

void *mem_alloc(size_t bytes) {
    void *memory = malloc(bytes == 0 ? 1 : bytes);
    if (memory == nullptr) memory_gone();
    return memory;
}

void *mem_zero(size_t bytes) {
    void *memory = calloc(1, bytes == 0 ? 1 : bytes);
    if (memory == nullptr) memory_gone();
    return memory;
}

void *mem_grow(void *old, size_t bytes) {
    void *memory = realloc(old, bytes == 0 ? 1 : bytes);
    if (memory == nullptr) memory_gone();
    return memory;
}

char *mem_copy(std::string_view text) {
    char *copy = (char *)mem_alloc(text.size() + 1);
    if (!text.empty()) memcpy(copy, text.data(), text.size());
    copy[text.size()] = 0;
    return copy;
}

void buf_free(Buf &b) {
    free(b.data);
    b.data = nullptr;
    b.len = b.cap = 0;
}

void buf_grow(Buf &b, size_t more) {
    CB_ASSERT(more <= SIZE_MAX / 4 - b.len);
    size_t cap = b.cap < 64 ? 64 : b.cap;
    while (cap < b.len + more) cap *= 2;
    b.data = (char *)mem_grow(b.data, cap);
    b.cap = cap;
}

void buf_add_uint(Buf &b, uint64_t n) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    buf_add(b, {digits + at, sizeof digits - at});
}

void buf_add_int(Buf &b, int64_t n) {
    if (n < 0) buf_add_char(b, '-');
    buf_add_uint(b, n < 0 ? 0 - (uint64_t)n : (uint64_t)n); // negated as unsigned: INT64_MIN has no positive twin
}

void buf_printf(Buf &b, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(nullptr, 0, format, arguments);
    va_end(arguments);
    CB_ASSERT(length >= 0);
    buf_reserve(b, (size_t)length + 1); // vsnprintf wants to write its NUL; it is not counted
    vsnprintf(b.data + b.len, (size_t)length + 1, format, again);
    va_end(again);
    b.len += (size_t)length;
}

void buf_drop_front(Buf &b, size_t n) {
    CB_ASSERT(n <= b.len);
    b.len -= n;
    if (n != 0 && b.len != 0) memmove(b.data, b.data + n, b.len);
}
