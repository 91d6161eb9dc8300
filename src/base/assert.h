// CB_ASSERT: our own mistakes stop the process, in every build. The world's failures are an Err, the peer's a reply.
#pragma once

// Prints one line with file, line and expression to standard error and aborts. Never returns.
[[noreturn]] void assert_failed(const char *file, int line, const char *expression);

#define CB_ASSERT(expression) \
    (__builtin_expect(!(expression), 0) ? assert_failed(__FILE__, __LINE__, #expression) : (void)0)
