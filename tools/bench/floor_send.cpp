// The other ways to send, see floor_send.h: io_uring by its bare system calls, and a second thread.
#include "floor_send.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

enum class Way { uring, zerocopy, sqpoll, threads };
Way way;

// The turn under way.
const int *turn_fds;
int32_t *turn_taken;
uint32_t turn_count;
size_t turn_len;

constexpr int send_flags = MSG_NOSIGNAL | MSG_DONTWAIT;

[[noreturn]] void fail(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

// --- io_uring

constexpr uint32_t sends_max = 8192; // in one submission
constexpr uint32_t buffers = 8;      // of turns: a zerocopy send may hold on to its bytes after it is done
uint8_t *buffer[buffers];
uint32_t held[buffers];              // sends that do
uint32_t buffer_now;
uint32_t turn_filled, turn_done;     // sends put into the ring, results that came
uint64_t copied;

struct {
    int fd;
    uint32_t *sq_tail, *sq_head, *sq_flags, *cq_head, *cq_tail;
    uint32_t sq_mask, cq_mask;
    io_uring_sqe *sqes;
    io_uring_cqe *cqes;
} ring;

int ring_enter(uint32_t submit, uint32_t wait, uint32_t flags) {
    return static_cast<int>(syscall(SYS_io_uring_enter, ring.fd, submit, wait, flags, nullptr, 0));
}

void ring_open() {
    io_uring_params p = {};
    p.flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER;
    p.cq_entries = 4 * sends_max;
    if (way == Way::sqpoll) {
        p.flags |= IORING_SETUP_SQPOLL;
        p.sq_thread_idle = 2; // ms
        cpu_set_t cpus;
        if (sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) == 1) { // or it takes any
            p.flags |= IORING_SETUP_SQ_AFF;
            while (!CPU_ISSET(p.sq_thread_cpu, &cpus)) p.sq_thread_cpu++;
        }
    } else p.flags |= IORING_SETUP_DEFER_TASKRUN;
    ring.fd = static_cast<int>(syscall(SYS_io_uring_setup, sends_max, &p));
    if (ring.fd < 0) fail("io_uring");
    auto map = [](size_t bytes, off_t what) {
        void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, what);
        if (at == MAP_FAILED) fail("io_uring");
        return static_cast<uint8_t *>(at);
    };
    uint8_t *sq = map(p.sq_off.array + p.sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
    uint8_t *cq = map(p.cq_off.cqes + p.cq_entries * sizeof(io_uring_cqe), IORING_OFF_CQ_RING);
    ring.sqes = reinterpret_cast<io_uring_sqe *>(map(p.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
    auto word = [](uint8_t *in, uint32_t at) { return reinterpret_cast<uint32_t *>(in + at); };
    ring.sq_head = word(sq, p.sq_off.head);
    ring.sq_tail = word(sq, p.sq_off.tail);
    ring.sq_flags = word(sq, p.sq_off.flags);
    ring.sq_mask = *word(sq, p.sq_off.ring_mask);
    ring.cq_head = word(cq, p.cq_off.head);
    ring.cq_tail = word(cq, p.cq_off.tail);
    ring.cq_mask = *word(cq, p.cq_off.ring_mask);
    ring.cqes = reinterpret_cast<io_uring_cqe *>(cq + p.cq_off.cqes);
    for (uint32_t i = 0; i < p.sq_entries; i++) word(sq, p.sq_off.array)[i] = i;
    io_uring_rsrc_register files = {};
    files.nr = sender_connections_max;
    files.flags = IORING_RSRC_REGISTER_SPARSE;
    if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES2, &files, sizeof files) < 0) fail("io_uring: files");
    if (way != Way::zerocopy) return;
    iovec all[buffers];
    for (uint32_t i = 0; i < buffers; i++) all[i] = {buffer[i], turn_bytes_max};
    if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, all, buffers) < 0) fail("io_uring: buffers");
}

void ring_fill() {
    uint32_t tail = *ring.sq_tail;
    for (; turn_filled < turn_count && tail - __atomic_load_n(ring.sq_head, __ATOMIC_ACQUIRE) < sends_max; turn_filled++, tail++) {
        io_uring_sqe *s = &ring.sqes[tail & ring.sq_mask];
        memset(s, 0, sizeof *s);
        s->opcode = IORING_OP_SEND;
        s->fd = turn_fds[turn_filled];
        s->flags = IOSQE_FIXED_FILE;
        s->addr = reinterpret_cast<uint64_t>(buffer[buffer_now]);
        s->len = static_cast<uint32_t>(turn_len);
        s->msg_flags = send_flags;
        s->user_data = uint64_t{buffer_now} << 32 | turn_filled;
        if (way == Way::zerocopy) {
            s->opcode = IORING_OP_SEND_ZC;
            s->ioprio = IORING_RECVSEND_FIXED_BUF | IORING_SEND_ZC_REPORT_USAGE;
            s->buf_index = static_cast<uint16_t>(buffer_now);
        }
    }
    __atomic_store_n(ring.sq_tail, tail, __ATOMIC_RELEASE);
}

void ring_collect() {
    uint32_t head = *ring.cq_head, tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
    for (; head != tail; head++) {
        const io_uring_cqe *c = &ring.cqes[head & ring.cq_mask];
        if (c->flags & IORING_CQE_F_NOTIF) {
            held[c->user_data >> 32]--;
            copied += (static_cast<uint32_t>(c->res) & IORING_NOTIF_USAGE_ZC_COPIED) != 0;
            continue;
        }
        if (c->flags & IORING_CQE_F_MORE) held[c->user_data >> 32]++;
        turn_taken[static_cast<uint32_t>(c->user_data)] = c->res;
        turn_done++;
    }
    __atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
}

// Submits what is in the ring and waits for `wait` results.
void ring_go(uint32_t wait) {
    uint32_t flags = wait > 0 ? IORING_ENTER_GETEVENTS : 0u, submit = 0;
    if (way == Way::sqpoll) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (__atomic_load_n(ring.sq_flags, __ATOMIC_RELAXED) & IORING_SQ_NEED_WAKEUP) flags |= IORING_ENTER_SQ_WAKEUP;
        if (flags == 0) return;
    } else submit = *ring.sq_tail - __atomic_load_n(ring.sq_head, __ATOMIC_ACQUIRE);
    if (ring_enter(submit, wait, flags) < 0 && errno != EINTR) fail("io_uring");
}

void ring_begin(const uint8_t *data) {
    buffer_now = (buffer_now + 1) % buffers;
    while (held[buffer_now] > 0) {
        ring_go(1);
        ring_collect();
    }
    memcpy(buffer[buffer_now], data, turn_len);
    turn_filled = turn_done = 0;
    ring_fill();
    if (way == Way::sqpoll) ring_go(0);
}

void ring_finish() {
    while (turn_done < turn_count) {
        ring_fill();
        uint32_t under_way = turn_filled - turn_done;
        ring_go(way == Way::sqpoll ? under_way : 1); // not through sqpoll they are all there when the call comes back
        ring_collect();
    }
}

// --- two threads

constexpr uint32_t share = 8; // connections taken at a time, by whoever is free
const uint8_t *shared_data;
uint64_t next_share;          // atomic: how many connections there are in the high half, the next one in the low half. So whoever comes late finds nothing
uint32_t turn_number;         // atomic, a futex: the second thread waits for the next one
uint32_t finished;            // atomic, a futex: connections of this turn that were served

long futex(uint32_t *word, int what, uint32_t value) { return syscall(SYS_futex, word, what | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0); }

void shares_take() {
    for (;;) {
        uint64_t next = __atomic_fetch_add(&next_share, share, __ATOMIC_SEQ_CST);
        auto count = static_cast<uint32_t>(next >> 32), from = static_cast<uint32_t>(next), until = from + share < count ? from + share : count;
        if (from >= count) return;
        for (uint32_t i = from; i < until; i++) {
            ssize_t n = send(turn_fds[i], shared_data, turn_len, send_flags);
            turn_taken[i] = n < 0 ? -errno : static_cast<int32_t>(n);
        }
        if (__atomic_add_fetch(&finished, until - from, __ATOMIC_SEQ_CST) == count) futex(&finished, FUTEX_WAKE, 1);
    }
}

void *second_run(void *) {
    for (uint32_t seen = 0;;) {
        while (__atomic_load_n(&turn_number, __ATOMIC_SEQ_CST) == seen) futex(&turn_number, FUTEX_WAIT, seen);
        seen = __atomic_load_n(&turn_number, __ATOMIC_SEQ_CST);
        shares_take();
    }
    return nullptr;
}

// The loop serves too, and waits at the end for the second thread's last share.
void threads_send(const uint8_t *data) {
    shared_data = data;
    __atomic_store_n(&finished, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&next_share, uint64_t{turn_count} << 32, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&turn_number, 1, __ATOMIC_SEQ_CST);
    futex(&turn_number, FUTEX_WAKE, 1);
    shares_take();
    for (uint32_t done; (done = __atomic_load_n(&finished, __ATOMIC_SEQ_CST)) < turn_count;) futex(&finished, FUTEX_WAIT, done);
}

void threads_open() {
    pthread_t second;
    if (pthread_create(&second, nullptr, second_run, nullptr) != 0) fail("thread");
}

} // namespace

bool sender_open(const char *how) {
    static const char *const names[] = {"uring", "zerocopy", "sqpoll", "threads"};
    uint32_t i = 0;
    while (i < 4 && strcmp(names[i], how) != 0) i++;
    if (i == 4) return false;
    way = static_cast<Way>(i);
    if (way == Way::threads) return threads_open(), true;
    void *at = mmap(nullptr, buffers * turn_bytes_max, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (at == MAP_FAILED) fail("memory");
    for (i = 0; i < buffers; i++) buffer[i] = static_cast<uint8_t *>(at) + i * turn_bytes_max;
    ring_open();
    return true;
}

void sender_file(int fd, bool open) {
    if (way == Way::threads) return;
    int32_t value = open ? fd : -1;
    io_uring_rsrc_update at = {};
    at.offset = static_cast<uint32_t>(fd);
    at.data = reinterpret_cast<uint64_t>(&value);
    if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES_UPDATE, &at, 1) < 0) fail("io_uring: a file");
}

void sender_begin(const int *fds, int32_t *taken, uint32_t count, const uint8_t *data, size_t len) {
    turn_fds = fds;
    turn_taken = taken;
    turn_len = len;
    turn_count = count;
    if (way == Way::threads) threads_send(data);
    else ring_begin(data);
}

bool sender_is_under_way() { return way == Way::sqpoll && turn_done < turn_count; }

void sender_finish() {
    if (way != Way::threads) ring_finish();
}

uint64_t sender_copied() { return copied; }
