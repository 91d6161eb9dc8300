// Backups of a store that may be at work, and the worker for what may take long.
#include "store/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/log.h"

// --- backups

bool store_backup(const char *dir, const char *path, Buf *error) {
    struct stat st;
    if (lstat(path, &st) == 0) {
        buf_add(*error, "there is a file of that name already; name a new one");
        return false;
    }
    char from[sizeof(Store::path)];
    snprintf(from, sizeof from, "%s/chatterbox.db", dir);
    db_start(false);
    Db db;
    bool is_done = db_open(db, from, DbMode::read, error) && db_copy(db, path, error);
    db_close(db, false);
    return is_done;
}

void store_copying(Store *s, bool begins) { __atomic_add_fetch(&s->copies_running, begins ? 1 : -1, __ATOMIC_RELAXED); }

// --- chores

bool chores_submit(Store *s, Job *job) {
    if (!s->chores) s->chores = worker_start(s->loop, 1, 4);
    return s->chores && worker_submit(s->chores, job);
}

void chores_stop(Store *s) {
    if (s->chores) worker_stop(s->chores);
    s->chores = nullptr;
}
