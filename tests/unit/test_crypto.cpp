// Crypto: published vectors, the shape of what is random, passwords that verify and those that do not.
#include "unit.h"

#include "base/crypto.h"

static void to_hex(const unsigned char *bytes, size_t n, char *out) {
    for (size_t i = 0; i < n; i++) snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void sha1_vectors(void **) {
    static const struct {
        const char *text;
        int times;
        const char *hex;
    } rows[] = {
        {"", 1, "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
        {"abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1, "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
        {"a", 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"},
        {"0123456701234567012345670123456701234567012345670123456701234567", 10, "dea356a2cddd90c7a7ecedc5ebb563934f460452"},
        {"a", 55, "c1c8bbdc22796e28c0e15163d20899b65621d65a"},
        {"a", 56, "c2db330f6083854c99d4b5bfb6e8f29f201be699"},
        {"a", 63, "03f09f5b158a7a8cdad920bddc29b81c18a551f5"},
        {"a", 64, "0098ba824b5c16427bd7a1122a5a442a25ec644d"},
        {"a", 119, "ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56"},
        {"a", 120, "f34c1488385346a55709ba056ddd08280dd4c6d6"},
        // RFC 6455, 1.3
        {"dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 1, "b37a4f2cc0624f1690f64606cf385945b2bec4ea"},
    };
    for (auto &row : rows) {
        ScopedBuf text;
        for (int i = 0; i < row.times; i++) buf_add(text, row.text);
        unsigned char digest[20];
        char hex[41];
        sha1(buf_view(text), digest);
        to_hex(digest, 20, hex);
        check_text(hex, row.hex, row.text);
    }
}

static void base64_vectors(void **) {
    static const struct {
        std::string_view bytes;
        const char *standard, *url;
    } rows[] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xfb\xff\xfe", "+//+", "-__-"},
        {bytes_of("\0\0"), "AAA=", "AAA"},
    };
    for (auto &row : rows) {
        ScopedBuf standard, url;
        buf_add(standard, ">"); // it appends
        base64_encode(row.bytes.data(), row.bytes.size(), standard);
        base64url_encode(row.bytes.data(), row.bytes.size(), url);
        check_text(buf_view(standard).substr(1), row.standard, row.standard);
        check_text(buf_view(url), row.url, row.url);
    }
}

static void token_hash_is_blake2b(void **) {
    unsigned char hash[hash_bytes];
    char hex[65];
    token_hash("abc", hash);
    to_hex(hash, hash_bytes, hex);
    assert_string_equal(hex, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

static void makes_uuids(void **) {
    char first[uuid_chars + 1], second[uuid_chars + 1];
    for (int i = 0; i < 500; i++) {
        uuid_make(first);
        uuid_make(second);
        assert_int_equal(strlen(first), 36);
        assert_true(uuid_valid(first));
        assert_int_equal(first[14], '4');
        assert_non_null(strchr("89ab", first[19]));
        assert_string_not_equal(first, second);
    }
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"6f0c1f3e-0000-4000-8000-0123456789ab", true},
        {"6F0C1F3E-0000-4000-8000-0123456789AB", true},
        {"6f0c1f3e-0000-4000-8000-0123456789a", false},
        {"6f0c1f3e-0000-4000-8000-0123456789abc", false},
        {"6f0c1f3e00000-4000-8000-0123456789ab", false},
        {"6f0c1f3e-0000-4000-8000-0123456789ag", false},
        {"6f0c1f3e-0000-4000-80000-123456789ab", false},
        {"", false},
        {"------------------------------------", false},
    };
    for (auto &row : rows) check(uuid_valid(row.text) == row.valid, "%s", row.text);
}

static void random_covers_its_range(void **) {
    bool seen[7] = {};
    for (int i = 0; i < 2000; i++) {
        uint32_t n = random_below(7);
        assert_true(n < 7);
        seen[n] = true;
    }
    for (bool s : seen) assert_true(s);
    assert_int_equal(random_below(1), 0);
    unsigned char a[32], b[32];
    random_bytes(a, sizeof a);
    random_bytes(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void keyed_hash_is_the_process_own(void **) {
    assert_true(keyed_hash("alice") == keyed_hash(std::string_view("xalice").substr(1)));
    assert_true(keyed_hash("alice") != keyed_hash("alicf"));
    assert_true(keyed_hash("") != keyed_hash(bytes_of("\0")));
    // Another start, another key: nobody can make names that collide.
    uint64_t mine = keyed_hash("alice");
    assert_true(aborts([mine] {
        crypto_start();
        if (keyed_hash("alice") != mine) abort();
    }));
}

static void compares(void **) {
    assert_true(equal_constant_time("abcd", "abcd", 4));
    assert_false(equal_constant_time("abcd", "abce", 4));
    assert_true(equal_constant_time("abcd", "abce", 3));
    assert_true(equal_constant_time("a", "b", 0));
}

static void hashes_passwords(void **) {
    char hash[password_hash_max], other[password_hash_max];
    assert_true(password_hash("correct horse", 64, 1, hash));
    assert_true(strncmp(hash, "$argon2id$v=19$m=64,t=1,p=1$", 28) == 0);
    assert_true(password_verify(hash, "correct horse"));
    bool failed = true;
    assert_false(password_verify(hash, "correct horsf", &failed));
    assert_false(failed); // tests/faults/nth.mjs sees the other answer
    assert_false(password_verify(hash, "correct hors"));
    assert_false(password_verify(hash, ""));
    assert_false(password_verify({}, "correct horse")); // of an account that is gone
    assert_true(password_hash("correct horse", 64, 1, other));
    assert_string_not_equal(hash, other); // a salt of its own

    assert_false(password_outdated(hash, 64, 1));
    assert_true(password_outdated(hash, 128, 1));
    assert_true(password_outdated(hash, 64, 2));

    const char *garbage[] = {"", "x", "$argon2id$", "$argon2id$v=19$m=64,t=1,p=1$c2FsdA$aGFzaA", "$2b$10$abcdefghijklmnopqrstuv"};
    for (const char *text : garbage) {
        check(!password_verify(text, "x"), "%s verified", text);
        check(password_outdated(text, 64, 1), "%s is fresh", text);
    }
    char endless[400];
    memset(endless, 'a', sizeof endless);
    assert_false(password_verify({endless, sizeof endless}, "x"));
    assert_true(password_outdated({endless, sizeof endless}, 64, 1));
}

static void says_when_there_is_no_memory(void **) {
    char hash[password_hash_max];
    assert_false(password_hash("x", (uint64_t)1 << 50, 1, hash));
}

// What has been moved away from cannot be looked at; that all is there afterwards can.
static void secrets_are_gathered_whole(void **) {
    ScopedBuf gathered, expected;
    for (int i = 0; i < 300; i++) {
        char piece[8];
        int length = snprintf(piece, sizeof piece, "%d,", i);
        secret_add(gathered, {piece, (size_t)length});
        buf_add(expected, {piece, (size_t)length});
        check_text(buf_view(gathered), buf_view(expected), piece);
    }
    secret_add(gathered, {});
    memory_wipe(buf_view(gathered));
    for (char c : buf_view(gathered)) assert_int_equal(c, 0);
    SecretBuf room(100);
    assert_true(room.cap >= 100 && room.len == 0);
}

int main() {
    if (!crypto_start()) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_are_gathered_whole),
        cmocka_unit_test(sha1_vectors),      cmocka_unit_test(base64_vectors),          cmocka_unit_test(token_hash_is_blake2b),
        cmocka_unit_test(makes_uuids),       cmocka_unit_test(random_covers_its_range), cmocka_unit_test(keyed_hash_is_the_process_own),
        cmocka_unit_test(compares),          cmocka_unit_test(hashes_passwords),        cmocka_unit_test(says_when_there_is_no_memory),
    };
    return cmocka_run_group_tests_name("crypto", tests, nullptr, nullptr);
}
