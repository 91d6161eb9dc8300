// The reserve: a file of reserve_bytes without a meaning, whose room is given back to a disk that is full, so that what frees room or protects people can still
// be written (operation_is_vital). When the room is there again it is taken again. Used by whoever runs the batch, and by store_open.
#include "store/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/limits.h"
#include "base/log.h"

// Random bytes, since a file system that cannot promise room may well compress, and make nothing of zeros.
static int fill(int fd, size_t bytes) {
    char block[4096];
    random_bytes(block, sizeof block);
    for (size_t at = 0; at < bytes; at += sizeof block) {
        memcpy(block, &at, sizeof at); // no two are the same
        errno = ENOSPC;
        if (pwrite(fd, block, sizeof block, (off_t)at) != (ssize_t)sizeof block) return errno;
    }
    return 0;
}

// 0, or why not: then nothing is taken.
static int take(int fd, size_t bytes) {
    int failed = 0;
    do failed = fallocate(fd, 0, 0, (off_t)bytes) == 0 ? 0 : errno;
    while (failed == EINTR);
    if (failed == EOPNOTSUPP || failed == ENOSYS) failed = fill(fd, bytes);
    // What is more than the reserve goes back: it only had to be there.
    if (!failed && ftruncate(fd, (off_t)reserve_bytes) != 0) failed = errno;
    if (failed && ftruncate(fd, 0) != 0) log_debug("store: the reserve keeps what it has");
    return failed;
}

// Without room for it only what is vital is written; without a reserve for another reason the disk is used up to its end, as if there were no such thing.
static void settle(Store *s, int failed) {
    s->is_reserve_gone = failed == ENOSPC || failed == EDQUOT;
    if (!failed || s->is_reserve_gone) return;
    log_warn("store: no room can be kept for a full disk: %s", strerror(failed));
    close(s->reserve_fd);
    s->reserve_fd = -1;
}

void reserve_open(Store *s, const char *dir) {
    char path[sizeof s->path];
    snprintf(path, sizeof path, "%s/reserve", dir);
    s->reserve_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct stat st;
    if (s->reserve_fd < 0 || fstat(s->reserve_fd, &st) != 0) return settle(s, errno);
    if (st.st_size == (off_t)reserve_bytes) return;
    settle(s, take(s->reserve_fd, reserve_bytes));
    s->reserve_tried_ms = clock_ms();
    if (s->is_reserve_gone) log_error("store: the disk is full: only deletions, blocks and the like are stored until there is room");
}

bool reserve_give(Store *s) {
    if (s->reserve_fd < 0 || s->is_reserve_gone || ftruncate(s->reserve_fd, 0) != 0) return false;
    s->is_reserve_gone = true;
    s->reserve_tried_ms = clock_ms();
    log_error("store: the disk is full: from now on only deletions, blocks and the like are stored, in the room of the reserve, until there is more");
    return true;
}

void reserve_regain(Store *s) {
    uint64_t now = clock_ms();
    if (!s->is_reserve_gone || now - s->reserve_tried_ms < reserve_retry_ms) return;
    s->reserve_tried_ms = now;
    settle(s, take(s->reserve_fd, reserve_bytes + reserve_beyond_bytes));
    if (!s->is_reserve_gone) log_info("store: there is room on the disk again: everything is stored");
}

// The pages that are in the write-ahead log alone make the database longer.
bool reserve_holds_log(Store *s) {
    struct stat st;
    int64_t pages = db_value(s->writing, "PRAGMA page_count");
    return pages >= 0 && stat(s->path, &st) == 0 && pages * db_page_bytes - st.st_size <= (int64_t)reserve_bytes / 2;
}
