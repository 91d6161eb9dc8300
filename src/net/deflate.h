// zlib behind one door: permessage-deflate's payloads (RFC 7692) without context takeover, so that one deflate and one inflate
// state serve all sockets, and the gzip files of the page for a client that does not take gzip. States are made at the first use
// (96 KB and 40 KB) and kept. Loop thread only.
#pragma once

#include "base/buf.h"

// The window of what we deflate, in bits: 8 KiB sees most of a page of history and keeps the state small. A client that wants a
// smaller one (server_max_window_bits) gets its frames plain.
constexpr int deflate_window_bits = 13;

enum class InflateResult : uint8_t { ok, corrupt, too_large, no_memory };

// Appends `payload` deflated, the closing 00 00 FF FF left out. False when it would not be smaller: then nothing is appended.
bool deflate_message(std::string_view payload, Buf &out);
// Appends the inflated message. Inflating stops at `bytes_max`: a bomb costs no more than that. On failure `out` is as before.
InflateResult inflate_message(std::string_view payload, size_t bytes_max, Buf &out);
// Appends a gzip file's content, which is `raw_bytes` long. False when it is corrupt or of another length, or when there is no memory.
bool inflate_gzip(std::string_view file, size_t raw_bytes, Buf &out);
// Gives both states back.
void deflate_stop();
