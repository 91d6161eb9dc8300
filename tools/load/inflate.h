// Compressed frames (RFC 7692, without context takeover). A frame that everybody gets is inflated once and remembered.
#pragma once

#include <stddef.h>

// The message in the frame's payload, which stays until the next call; ends the program if it is broken.
const char *inflate_frame(const char *payload, size_t n, size_t *message_bytes);
