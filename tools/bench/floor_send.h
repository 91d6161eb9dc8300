// The ways in which the floor hands the bytes of a turn to everybody, to see what another would move: the experiments of
// `SCENARIOS=experiments tools/bench/run`. The plain one, a send() each, is the floor's own; the others are here:
//   uring     one submission to io_uring of a send for each connection, files registered, results collected by the same call
//   zerocopy  the same with IORING_OP_SEND_ZC from registered buffers
//   sqpoll    the same as uring, but a thread of the kernel does the sends while the loop reads on
//   threads   a second thread takes its share of the connections, eight at a time
// One caller; the threads are the sender's own. What cannot be had ends the program with a line.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct Bytes {
    uint8_t *data = nullptr;
    size_t len = 0, cap = 0;
};

struct Conn {
    int fd;
    uint32_t at; // its place in `all`
    bool socket; // upgraded
    bool waits_to_write;
    Bytes in, out; // the rest of a frame cut in two; what the kernel would not take
};

void *must(void *allocated); // or the end

constexpr size_t turn_bytes_max = 256 * 1024;      // longer turns go the plain way
constexpr uint32_t sender_connections_max = 16384;

bool sender_open(const char *how);                 // false: no such way
void sender_file(int fd, bool open);               // one that comes, or is about to be closed
// The bytes are copied, the list and `taken` stay the caller's until sender_finish: then taken[i] is how much the kernel took of
// the i-th, or -errno. At most one turn is under way.
void sender_begin(const int *fds, int32_t *taken, uint32_t count, const uint8_t *data, size_t len);
bool sender_is_under_way();
void sender_finish();
uint64_t sender_copied();                          // of the zerocopy sends, those that the kernel copied all the same

// floor_alone.cpp: one fan-out after the other to connections of its own process that are emptied in between, untimed: what the way costs without
// a generator beside it. Prints JSON. False: by plain sends.
int alone_run(bool by_sender, uint32_t connections, size_t len);
