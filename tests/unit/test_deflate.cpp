// permessage-deflate's payloads: round trips, bombs, rubbish, and states that are shared without one message learning from another.
#include "unit.h"

#include <zlib.h>

#include "net/deflate.h"

static uint32_t seed;
static uint32_t next() { return seed = seed * 1664525 + 1013904223; }

// What a client of ours would send, at any window.
static void pack(std::string_view text, int window, int flush, Buf &out) {
    z_stream z = {};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -window, 9, Z_DEFAULT_STRATEGY), Z_OK);
    buf_reserve(out, deflateBound(&z, text.size()) + 64);
    z.next_in = (Bytef *)text.data();
    z.avail_in = (uInt)text.size();
    z.next_out = (Bytef *)out.data;
    z.avail_out = (uInt)out.cap;
    deflate(&z, flush);
    out.len = out.cap - z.avail_out;
    if (flush == Z_SYNC_FLUSH) out.len -= 4;
    deflateEnd(&z);
}

static void comes_back(void **) {
    seed = 20261122;
    for (int i = 0; i < 300; i++) {
        ScopedBuf text, packed, back;
        size_t len = next() % (i % 10 == 0 ? 130'000 : 3000);
        while (text.len < len) buf_printf(text, "{\"type\":\"message\",\"id\":%u,\"text\":\"%c\"}", next() % 1000, 'a' + next() % 26);
        if (!deflate_message(buf_view(text), packed)) {
            check(text.len < 100, "seed 20261122, text %d of %zu bytes did not shrink", i, text.len);
            continue;
        }
        assert_true(packed.len < text.len);
        assert_int_equal((int)inflate_message(buf_view(packed), 200'000, back), (int)InflateResult::ok);
        assert_true(buf_view(text) == buf_view(back));
    }
}

static void what_does_not_shrink_stays(void **) {
    seed = 7;
    ScopedBuf noise, out;
    for (int i = 0; i < 4000; i++) buf_add_char(noise, (char)(next() >> 24));
    buf_add(out, "before");
    assert_false(deflate_message(buf_view(noise), out));
    assert_false(deflate_message("hi", out));
    assert_false(deflate_message("", out));
    check_text(buf_view(out), "before", "nothing was appended");
}

static void every_window_and_ending_is_understood(void **) {
    ScopedBuf text;
    for (int i = 0; i < 500; i++) buf_printf(text, "line %d of a longer text; ", i);
    for (int window = 9; window <= 15; window++) {
        for (int flush : {Z_SYNC_FLUSH, Z_FINISH}) { // the second is a final block, which §7.2.3.4 allows
            ScopedBuf packed, back;
            pack(buf_view(text), window, flush, packed);
            check(inflate_message(buf_view(packed), 65536, back) == InflateResult::ok, "window %d, flush %d", window, flush);
            assert_true(buf_view(text) == buf_view(back));
        }
    }
    struct {
        std::string_view packed, text; // RFC 7692 §7.2.3
    } rows[] = {
        {bytes_of("\xf2\x48\xcd\xc9\xc9\x07\x00"), "Hello"},
        {bytes_of("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), "Hello"},
        {bytes_of("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "Hello"},
        {bytes_of("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), "Hello"},
        {bytes_of("\x00"), ""},
        {"", ""},
    };
    for (auto &row : rows) {
        ScopedBuf back;
        assert_int_equal((int)inflate_message(row.packed, 65536, back), (int)InflateResult::ok);
        check_text(buf_view(back), row.text, "an example of the RFC");
    }
}

static void bombs_stop_at_the_limit(void **) {
    ScopedBuf zeros, bomb, out;
    buf_reserve(zeros, 8 << 20);
    zeros.len = 8 << 20;
    memset(zeros.data, 0, zeros.len);
    pack(buf_view(zeros), 15, Z_SYNC_FLUSH, bomb);
    buf_add(out, "x");
    assert_int_equal((int)inflate_message(buf_view(bomb), 65536, out), (int)InflateResult::too_large);
    check_text(buf_view(out), "x", "nothing was appended");
    check(out.cap < 256 * 1024, "%zu bytes were taken for it", out.cap);
    for (size_t len : {(size_t)65535, (size_t)65536, (size_t)65537}) {
        ScopedBuf packed, back;
        pack(buf_view(zeros).substr(0, len), 15, Z_SYNC_FLUSH, packed);
        InflateResult want = len <= 65536 ? InflateResult::ok : InflateResult::too_large;
        check(inflate_message(buf_view(packed), 65536, back) == want, "%zu bytes", len);
    }
}

static void rubbish_is_corrupt(void **) {
    ScopedBuf out;
    for (std::string_view bad : {bytes_of("\xff\xff\xff\xff"), bytes_of("\x06"), bytes_of("\x00\x05\x00\xfa\xfe"), bytes_of("\x00\x09\x00\xf6\xff\x48"), bytes_of("\xf2\x48\xcd"), bytes_of("\xf2\x48\xcd\xc9\xc9")})
        assert_int_equal((int)inflate_message(bad, 65536, out), (int)InflateResult::corrupt);
    assert_int_equal(out.len, 0);
    seed = 99;
    for (int i = 0; i < 5000; i++) {
        char noise[64];
        size_t len = next() % sizeof noise;
        for (size_t k = 0; k < len; k++) noise[k] = (char)(next() >> 24);
        out.len = 0;
        InflateResult r = inflate_message({noise, len}, 1000, out);
        check(out.len <= 1000 && (r == InflateResult::ok || out.len == 0), "seed 99, noise %d", i);
    }
}

// Without context takeover a message may not lean on the one before.
static void nothing_is_remembered(void **) {
    z_stream z = {};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    const char *text = "a text that is said twice, a text that is said twice";
    unsigned char packed[2][200];
    size_t len[2];
    for (int i = 0; i < 2; i++) {
        z.next_in = (Bytef *)text;
        z.avail_in = (uInt)strlen(text);
        z.next_out = packed[i];
        z.avail_out = sizeof packed[i];
        deflate(&z, Z_SYNC_FLUSH);
        len[i] = sizeof packed[i] - z.avail_out - 4;
    }
    deflateEnd(&z);
    ScopedBuf out;
    assert_int_equal((int)inflate_message({(char *)packed[0], len[0]}, 65536, out), (int)InflateResult::ok);
    assert_int_equal((int)inflate_message({(char *)packed[1], len[1]}, 65536, out), (int)InflateResult::corrupt);
}

static void gzip_files(void **) {
    z_stream z = {};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
    const char *text = "body { color: red } body { color: red }";
    char file[200];
    z.next_in = (Bytef *)text;
    z.avail_in = (uInt)strlen(text);
    z.next_out = (Bytef *)file;
    z.avail_out = sizeof file;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t len = sizeof file - z.avail_out;
    deflateEnd(&z);
    ScopedBuf out;
    assert_true(inflate_gzip({file, len}, strlen(text), out));
    check_text(buf_view(out), text, "inflated");
    assert_false(inflate_gzip({file, len}, strlen(text) - 1, out));
    assert_false(inflate_gzip({file, len}, strlen(text) + 1, out));
    assert_false(inflate_gzip({file, len - 9}, strlen(text), out));
    ScopedBuf again; // and messages still work with the same state
    assert_int_equal((int)inflate_message(bytes_of("\xf2\x48\xcd\xc9\xc9\x07\x00"), 100, again), (int)InflateResult::ok);
}

static int stop(void **) {
    deflate_stop();
    return 0;
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),         cmocka_unit_test(what_does_not_shrink_stays), cmocka_unit_test(every_window_and_ending_is_understood),
        cmocka_unit_test(rubbish_is_corrupt), cmocka_unit_test(bombs_stop_at_the_limit),    cmocka_unit_test(nothing_is_remembered),
        cmocka_unit_test(gzip_files),
    };
    return cmocka_run_group_tests_name("deflate", tests, nullptr, stop);
}
