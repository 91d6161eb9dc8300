// Delay: a small list, looked through at the turn in which somebody is due. It has at most one entry a connection, because one that waits reads nothing.
#include "web/delay.h"

#include <stdlib.h>

struct Waiting {
    ConnId id;
    uint64_t due_ms;
    void (*ready)(ConnId id);
};

static Waiting *waiting;
static uint32_t count, capacity;
static uint64_t next_due_ms;

void delay_until(ConnId id, uint64_t due_ms, void (*ready)(ConnId id)) {
    if (count == capacity) {
        capacity = capacity ? capacity * 2 : 16;
        waiting = static_cast<Waiting *>(mem_grow(waiting, capacity * sizeof *waiting));
    }
    waiting[count++] = {id, due_ms, ready};
    if (!next_due_ms || due_ms < next_due_ms) next_due_ms = due_ms;
}

void delay_turn(uint64_t now_ms) {
    if (!next_due_ms || next_due_ms > now_ms) return;
    next_due_ms = 0;
    // Whoever is heard may have to wait again and is then appended: only those here now are looked at.
    uint32_t here = count, kept = 0;
    for (uint32_t i = 0; i < here; i++) {
        Waiting w = waiting[i];
        if (w.due_ms > now_ms) {
            waiting[kept++] = w;
            if (!next_due_ms || w.due_ms < next_due_ms) next_due_ms = w.due_ms;
        } else if (conn_get(w.id)) {
            w.ready(w.id);
        }
    }
    for (uint32_t i = here; i < count; i++) waiting[kept++] = waiting[i];
    count = kept;
}

uint64_t delay_due_ms() { return next_due_ms; }

void delay_free() {
    free(waiting);
    waiting = nullptr;
    count = capacity = 0;
}
