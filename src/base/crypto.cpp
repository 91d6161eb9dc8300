// The door to libsodium. Owns the key of keyed_hash, drawn at start and never changed. Any thread after crypto_start.
#include "base/crypto.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static_assert(password_hash_max >= crypto_pwhash_STRBYTES);

namespace {

unsigned char hash_key[crypto_shorthash_KEYBYTES];

bool hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

void base64(const void *bytes, size_t n, int variant, Buf &out) {
    size_t room = sodium_base64_encoded_len(n, variant); // with its NUL
    buf_reserve(out, room);
    sodium_bin2base64(out.data + out.len, room, (const unsigned char *)bytes, n, variant);
    out.len += strlen(out.data + out.len);
}

uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

void sha1_block(uint32_t state[5], const unsigned char *block) {
    uint32_t w[80];
    for (int i = 0; i < 16; i++) {
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    }
    for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 80; i++) {
        uint32_t mixed, constant;
        if (i < 20) mixed = (b & c) | (~b & d), constant = 0x5a827999;
        else if (i < 40) mixed = b ^ c ^ d, constant = 0x6ed9eba1;
        else if (i < 60) mixed = (b & c) | (b & d) | (c & d), constant = 0x8f1bbcdc;
        else mixed = b ^ c ^ d, constant = 0xca62c1d6;
        uint32_t next = rotate(a, 5) + mixed + e + constant + w[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

} // namespace

bool crypto_start() {
    if (sodium_init() < 0) return false;
    randombytes_buf(hash_key, sizeof hash_key);
    return true;
}

void random_bytes(void *out, size_t n) { randombytes_buf(out, n); }

uint32_t random_below(uint32_t bound) {
    CB_ASSERT(bound > 0);
    return randombytes_uniform(bound);
}

void uuid_make(char out[uuid_chars + 1]) {
    unsigned char bytes[16];
    randombytes_buf(bytes, sizeof bytes);
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40); // version 4
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80); // variant of RFC 9562
    static const char digits[] = "0123456789abcdef";
    char *at = out;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *at++ = '-';
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    *at = 0;
    sodium_memzero(bytes, sizeof bytes);
}

bool uuid_valid(std::string_view text) {
    if (text.size() != uuid_chars) return false;
    for (size_t i = 0; i < uuid_chars; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : !hex(text[i])) return false;
    }
    return true;
}

void token_hash(std::string_view token, unsigned char out[hash_bytes]) {
    crypto_generichash(out, hash_bytes, (const unsigned char *)token.data(), token.size(), nullptr, 0);
}

uint64_t keyed_hash(std::string_view bytes) {
    uint64_t hash;
    static_assert(sizeof hash == crypto_shorthash_BYTES);
    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)bytes.data(), bytes.size(), hash_key);
    return hash;
}

bool equal_constant_time(const void *a, const void *b, size_t n) { return sodium_memcmp(a, b, n) == 0; }

void memory_wipe(std::string_view bytes) { sodium_memzero(const_cast<char *>(bytes.data()), bytes.size()); }

void secret_add(Buf &b, std::string_view bytes) {
    if (bytes.size() > b.cap - b.len) {
        Buf larger;
        buf_reserve(larger, b.len + bytes.size());
        buf_add(larger, buf_view(b));
        memory_wipe(buf_view(b));
        buf_free(b);
        b = larger;
    }
    buf_add(b, bytes);
}

void base64_encode(const void *bytes, size_t n, Buf &out) { base64(bytes, n, sodium_base64_VARIANT_ORIGINAL, out); }
void base64url_encode(const void *bytes, size_t n, Buf &out) { base64(bytes, n, sodium_base64_VARIANT_URLSAFE_NO_PADDING, out); }

void sha1(std::string_view bytes, unsigned char out[20]) {
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const unsigned char *at = (const unsigned char *)bytes.data();
    size_t left = bytes.size();
    for (; left >= 64; left -= 64, at += 64) sha1_block(state, at);
    // The last bytes, a one bit, zeros, and the length in bits: one block or two.
    unsigned char tail[128] = {};
    if (left != 0) memcpy(tail, at, left);
    tail[left] = 0x80;
    size_t tail_bytes = left < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)bytes.size() * 8;
    for (int i = 0; i < 8; i++) tail[tail_bytes - 1 - (size_t)i] = (unsigned char)(bits >> (8 * i));
    sha1_block(state, tail);
    if (tail_bytes == 128) sha1_block(state, tail + 64);
    for (int i = 0; i < 20; i++) out[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
}

// The parts of an Argon2id string, each taken from *at: the number behind `name` (0: it is not there), and `bytes` in base64 behind a `$`.
static unsigned long number_after(char **at, const char *name) {
    size_t len = strlen(name);
    return strncmp(*at, name, len) == 0 && (*at)[len] >= '1' && (*at)[len] <= '9' ? strtoul(*at + len, at, 10) : 0;
}

static bool bytes_after(char **at, unsigned char *out, size_t bytes) {
    const char *text = *at + 1, *end;
    size_t len = (bytes * 4 + 2) / 3, got;
    if (strlen(text) < len) return false;
    *at += 1 + len;
    return sodium_base642bin(out, bytes, text, len, nullptr, &got, &end, sodium_base64_VARIANT_ORIGINAL_NO_PADDING) == 0 && got == bytes &&
           end == text + len;
}

// An empty view may have no address, and libsodium wants one.
static const char *bytes_of_password(std::string_view password) { return password.empty() ? "" : password.data(); }

bool password_hash(std::string_view password, uint64_t memory_kib, uint64_t ops, char out[password_hash_max]) {
    memset(out, 0, password_hash_max);
    return crypto_pwhash_str(out, bytes_of_password(password), password.size(), ops, (size_t)memory_kib * 1024) == 0;
}

bool password_verify(std::string_view hash, std::string_view password, bool *failed) {
    char text[password_hash_max] = {}; // libsodium reads a string that ends in NUL
    if (failed) *failed = false;
    if (hash.size() >= sizeof text) return false;
    if (!hash.empty()) memcpy(text, hash.data(), hash.size());
    // libsodium's own verification does not tell another password from memory that it did not get.
    unsigned char salt[crypto_pwhash_SALTBYTES], wanted[32], got[sizeof wanted];
    char *at = text;
    unsigned long memory_kib = number_after(&at, "$argon2id$v=19$m="), ops = number_after(&at, ",t="), lanes = number_after(&at, ",p=");
    bool is_usual = lanes == 1 && *at == '$' && bytes_after(&at, salt, sizeof salt) && *at == '$' && bytes_after(&at, wanted, sizeof wanted) && *at == 0;
    if (!is_usual) return crypto_pwhash_str_verify(text, bytes_of_password(password), password.size()) == 0;
    bool is_done = crypto_pwhash(got, sizeof got, bytes_of_password(password), password.size(), salt, ops, (size_t)memory_kib * 1024,
                                 crypto_pwhash_ALG_ARGON2ID13) == 0;
    bool is_equal = is_done && sodium_memcmp(got, wanted, sizeof got) == 0;
    if (failed) *failed = !is_done;
    sodium_memzero(got, sizeof got);
    return is_equal;
}

bool password_outdated(std::string_view hash, uint64_t memory_kib, uint64_t ops) {
    char text[password_hash_max] = {};
    if (hash.size() >= sizeof text) return true;
    memcpy(text, hash.data(), hash.size());
    return crypto_pwhash_str_needs_rehash(text, ops, (size_t)memory_kib * 1024) != 0;
}
