// The end of the process on a mistake of our own. Writes straight to standard error: whatever is broken, the log and
// stdio may be part of it. Any thread.
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void assert_failed(const char *file, int line, const char *expression) {
    char text[512];
    snprintf(text, sizeof text, "chatterbox: %s:%d: this does not hold: %.300s\n", file, line, expression);
    [[maybe_unused]] ssize_t written = write(STDERR_FILENO, text, strlen(text));
    abort();
}
