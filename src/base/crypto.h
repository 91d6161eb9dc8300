// Cryptography: libsodium behind one door, and SHA-1, which RFC 6455 asks for in the handshake and libsodium rightly lacks.
// Any thread after crypto_start.
#pragma once

#include "base/buf.h"

constexpr size_t hash_bytes = 32;         // BLAKE2b-256
constexpr size_t uuid_chars = 36;
constexpr size_t password_hash_max = 128; // an Argon2id string with its NUL

// Call once before anything else; false when the system has no entropy source.
bool crypto_start();
void random_bytes(void *out, size_t n);
uint32_t random_below(uint32_t bound);                       // uniform in [0, bound)
void uuid_make(char out[uuid_chars + 1]);                    // version 4 (RFC 9562), from the CSPRNG
bool uuid_valid(std::string_view text);                      // 8-4-4-4-12 hexadecimal digits
void token_hash(std::string_view token, unsigned char out[hash_bytes]); // what the store keeps of a token
// 64-bit SipHash under a key drawn at start: for hash tables that a peer can fill.
uint64_t keyed_hash(std::string_view bytes);
bool equal_constant_time(const void *a, const void *b, size_t n);
void memory_wipe(std::string_view bytes);                     // overwrites a secret that is not needed any more
void secret_add(Buf &b, std::string_view bytes);              // buf_add, and where the memory has to move, what was there is overwritten

// A Buf that is overwritten and freed at the end of its scope. It has room from the start for what is to come, since to grow would leave a copy behind.
struct SecretBuf : Buf {
    explicit SecretBuf(size_t room) { buf_reserve(*this, room); }
    SecretBuf(const SecretBuf &) = delete;
    SecretBuf &operator=(const SecretBuf &) = delete;
    ~SecretBuf() {
        memory_wipe({data, cap});
        buf_free(*this);
    }
};
void base64_encode(const void *bytes, size_t n, Buf &out);
void base64url_encode(const void *bytes, size_t n, Buf &out);   // without padding
void sha1(std::string_view bytes, unsigned char out[20]);       // RFC 3174

// Argon2id. memory in KiB, at least 8; ops at least 1. Blocking: tens of milliseconds and `memory_kib` of memory, so call it on a worker.
// False when memory was not to be had.
bool password_hash(std::string_view password, uint64_t memory_kib, uint64_t ops, char out[password_hash_max]);
// *failed (may be null): there was not enough memory to know.
bool password_verify(std::string_view hash, std::string_view password, bool *failed = nullptr);
// True when the hash was made with another cost than this one and should be renewed.
bool password_outdated(std::string_view hash, uint64_t memory_kib, uint64_t ops);
