// Feeds a target every input of its corpus, tests/fuzz/corpus/NAME: one input a line, each byte that is not printable ASCII, and '%', as %XX. Stands in the place of
// libFuzzer, so that `make test` needs no clang. Ends like a cmocka program: one test, which fails when a promise is broken, and then names the line.
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "fuzz.h"

namespace {

unsigned line_number;
const char *corpus_path;

// Only what may be called from a signal.
void say_line(int signal_number) {
    char text[300];
    int n = snprintf(text, sizeof text, "[  FAILED  ] 1 test(s).\n%s:%u broke a promise\n", corpus_path, line_number);
    if (n > 0 && write(STDOUT_FILENO, text, (size_t)n) < 0) _exit(2);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

int hex_of(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

bool line_decode(std::string_view line, Buf &out) {
    for (size_t i = 0; i < line.size(); i++) {
        if (line[i] != '%') {
            buf_add_char(out, line[i]);
            continue;
        }
        if (line.size() - i < 3 || hex_of(line[i + 1]) < 0 || hex_of(line[i + 2]) < 0) return false;
        buf_add_char(out, (char)(hex_of(line[i + 1]) * 16 + hex_of(line[i + 2])));
        i += 2;
    }
    return true;
}

// An input of its own size on the heap, where a sanitizer sees a read beyond its end.
void feed(const Buf &input) {
    auto *copy = (uint8_t *)mem_alloc(input.len == 0 ? 1 : input.len);
    if (input.len > 0) memcpy(copy, input.data, input.len);
    LLVMFuzzerTestOneInput(copy, input.len);
    free(copy);
}

} // namespace

int main(int argc, char **argv) {
    char path[512];
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    snprintf(path, sizeof path, "tests/fuzz/corpus/%s", strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name);
    corpus_path = argc > 1 ? argv[1] : path;
    FILE *file = fopen(corpus_path, "r");
    if (!file) {
        fprintf(stderr, "%s: %s\n", corpus_path, strerror(errno));
        return 1;
    }
    for (int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(number, say_line);
    char *line = nullptr;
    size_t room = 0;
    ScopedBuf input;
    for (ssize_t n; (n = getline(&line, &room, file)) > 0;) {
        line_number++;
        buf_clear(input);
        if (line[n - 1] == '\n') n--;
        if (!line_decode({line, (size_t)n}, input)) {
            fprintf(stderr, "%s:%u: not an input\n", corpus_path, line_number);
            return 1;
        }
        feed(input);
    }
    free(line);
    fclose(file);
    if (line_number == 0) {
        fprintf(stderr, "%s: no inputs\n", corpus_path);
        return 1;
    }
    printf("%u inputs\n[  PASSED  ] 1 test(s).\n", line_number);
    return 0;
}
