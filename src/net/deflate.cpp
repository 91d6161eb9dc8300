// The two shared zlib states. Every message begins with a reset, which is what "no context takeover" means; a reset costs about a
// microsecond, a state of its own for each socket would cost 100 KB. Owns the states; loop thread only. What is worth deflating
// is ws.cpp's part.
#include "net/deflate.h"

#include <stdlib.h>
#include <zlib.h>

#include <algorithm>

#include "base/assert.h"

namespace {

// What RFC 7692 §7.2.1 takes off the end of each message, and §7.2.2 puts back.
constexpr unsigned char tail[4] = {0x00, 0x00, 0xff, 0xff};

z_stream *packer;
z_stream *unpacker;

// There was no memory for it now; the next who needs it tries again.
void give_up(z_stream *&z) {
    free(z);
    z = nullptr;
}

// Both are null when there is no memory.
z_stream *packer_get() {
    if (packer != nullptr) {
        CB_ASSERT(deflateReset(packer) == Z_OK);
        return packer;
    }
    packer = (z_stream *)mem_zero(sizeof *packer);
    // Level 5: half the time of 6 on chat's short texts for one byte in a hundred. memLevel 6 fits the window.
    if (deflateInit2(packer, 5, Z_DEFLATED, -deflate_window_bits, 6, Z_DEFAULT_STRATEGY) != Z_OK) give_up(packer);
    return packer;
}

z_stream *unpacker_get() {
    if (unpacker != nullptr) {
        CB_ASSERT(inflateReset2(unpacker, -MAX_WBITS) == Z_OK);
        return unpacker;
    }
    unpacker = (z_stream *)mem_zero(sizeof *unpacker);
    if (inflateInit2(unpacker, -MAX_WBITS) != Z_OK) give_up(unpacker);
    return unpacker;
}

// Inflates one piece of a message behind what `out` has; `begin` is where the message starts there.
// *ended: at the end of a final block.
InflateResult inflate_piece(
    z_stream *z, const unsigned char *data, size_t len, size_t begin, size_t bytes_max, Buf &out, bool *ended) {
    *ended = false;
    z->next_in = (Bytef *)data;
    z->avail_in = (uInt)len;
    while (true) {
        size_t have = out.len - begin;
        // One byte more than allowed: to know that it would have been too much.
        size_t room = std::min(bytes_max + 1 - have, std::max<size_t>(4 * (size_t)z->avail_in, 512));
        buf_reserve(out, room);
        z->next_out = (Bytef *)out.data + out.len;
        z->avail_out = (uInt)room;
        int r = inflate(z, Z_SYNC_FLUSH);
        out.len += room - z->avail_out;
        if (out.len - begin > bytes_max) return InflateResult::too_large;
        if (r == Z_STREAM_END) {
            // A final block may end a message early (§7.2.3.4); what follows begins anew.
            if (z->avail_in == 0) {
                *ended = true;
                return InflateResult::ok;
            }
            if (inflateReset(z) != Z_OK) return InflateResult::corrupt;
            continue;
        }
        if (r == Z_MEM_ERROR) return InflateResult::no_memory; // zlib makes its window when it first needs one
        if (r != Z_OK && r != Z_BUF_ERROR) return InflateResult::corrupt;
        if (z->avail_out != 0) return z->avail_in == 0 ? InflateResult::ok : InflateResult::corrupt;
    }
}

} // namespace

bool deflate_message(std::string_view payload, Buf &out) {
    z_stream *z = packer_get();
    if (z == nullptr) return false;
    size_t room = payload.size() + sizeof tail; // the tail is written, then taken off
    buf_reserve(out, room);
    z->next_in = (Bytef *)payload.data();
    z->avail_in = (uInt)payload.size();
    z->next_out = (Bytef *)out.data + out.len;
    z->avail_out = (uInt)room;
    int r = deflate(z, Z_SYNC_FLUSH);
    // A full buffer may mean an unfinished flush, and is no gain anyway.
    if (r != Z_OK || z->avail_in != 0 || z->avail_out == 0) return false;
    size_t packed = room - z->avail_out;
    if (packed <= sizeof tail || packed - sizeof tail >= payload.size()) return false;
    out.len += packed - sizeof tail;
    return true;
}

InflateResult inflate_message(std::string_view payload, size_t bytes_max, Buf &out) {
    if (payload.empty()) return InflateResult::ok; // not even the flush's first byte: some send an empty message so
    z_stream *z = unpacker_get();
    if (z == nullptr) return InflateResult::no_memory;
    size_t begin = out.len;
    bool ended = false;
    InflateResult r = inflate_piece(z, (const unsigned char *)payload.data(), payload.size(), begin, bytes_max, out, &ended);
    if (r == InflateResult::ok && !ended) {
        r = inflate_piece(z, tail, sizeof tail, begin, bytes_max, out, &ended);
        // The tail is an empty block and its end the end of a block: else the message was cut inside one. 128 is zlib's word for
        // "between blocks".
        if (r == InflateResult::ok && !ended && (z->data_type & 128) == 0) r = InflateResult::corrupt;
    }
    if (r != InflateResult::ok) out.len = begin;
    return r;
}

bool inflate_gzip(std::string_view file, size_t raw_bytes, Buf &out) {
    z_stream *z = unpacker_get();
    if (z == nullptr) return false;
    CB_ASSERT(inflateReset2(z, 16 + MAX_WBITS) == Z_OK);
    buf_reserve(out, raw_bytes + 1);
    z->next_in = (Bytef *)file.data();
    z->avail_in = (uInt)file.size();
    z->next_out = (Bytef *)out.data + out.len;
    z->avail_out = (uInt)raw_bytes + 1;
    int r = inflate(z, Z_FINISH);
    if (r != Z_STREAM_END || z->avail_out != 1) return false;
    out.len += raw_bytes;
    return true;
}

void deflate_stop() {
    if (packer != nullptr) deflateEnd(packer);
    if (unpacker != nullptr) inflateEnd(unpacker);
    free(packer);
    free(unpacker);
    packer = nullptr;
    unpacker = nullptr;
}
