// Inflating frames. See inflate.h.
#include "inflate.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "measure.h"

namespace {

constexpr size_t message_bytes_max = 256 * 1024, remembered = 64;

struct Frame {
    char *payload = nullptr, *message = nullptr;
    size_t payload_bytes = 0, message_bytes = 0;
};
Frame frames[remembered]; // the last ones, in turn
size_t newest;
z_stream stream;
bool begun;

} // namespace

const char *inflate_frame(const char *payload, size_t n, size_t *message_bytes) {
    for (size_t i = 0; i < remembered; i++) {
        const Frame &f = frames[(newest + remembered - i) % remembered];
        if (f.payload_bytes != n || memcmp(f.payload, payload, n) != 0) continue;
        *message_bytes = f.message_bytes;
        return f.message;
    }
    static char message[message_bytes_max];
    if (!begun && inflateInit2(&stream, -15) != Z_OK) die("cannot inflate");
    begun = true;
    inflateReset(&stream);
    // The sender left out the end of the block, RFC 7692 7.2.1.
    constexpr char end[] = {0, 0, '\xff', '\xff'};
    stream.next_out = reinterpret_cast<Bytef *>(message);
    stream.avail_out = message_bytes_max - 1;
    stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(payload));
    stream.avail_in = static_cast<uInt>(n);
    int result = inflate(&stream, Z_SYNC_FLUSH);
    stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(end));
    stream.avail_in = sizeof end;
    if (result == Z_OK || result == Z_BUF_ERROR) result = inflate(&stream, Z_SYNC_FLUSH);
    if ((result != Z_OK && result != Z_BUF_ERROR && result != Z_STREAM_END) || stream.avail_out == 0) die("a compressed frame is broken");
    Frame &f = frames[newest = (newest + 1) % remembered];
    f.payload_bytes = n;
    f.message_bytes = message_bytes_max - 1 - stream.avail_out;
    f.payload = static_cast<char *>(must(realloc(f.payload, n + 1)));
    f.message = static_cast<char *>(must(realloc(f.message, f.message_bytes + 1)));
    memcpy(f.payload, payload, n);
    memcpy(f.message, message, f.message_bytes);
    f.message[f.message_bytes] = 0;
    *message_bytes = f.message_bytes;
    return f.message;
}
