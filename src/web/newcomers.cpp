// Newcomers, oldest first. See newcomers.h.
#include "web/newcomers.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

struct Newcomer {
    ConnId id;
    uint64_t since_ms;
};

static Newcomer *list;
static uint32_t count, capacity;
static uint32_t next; // to be looked at
static uint32_t left; // how many have not been looked at, from `next` on and round

// Who has gone takes no place, so there is room for twice as many as there are sockets at most.
static void make_room() {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (conn_get(list[i].id)) list[kept++] = list[i];
    count = kept;
    next = 0;
    if (left) left = count;
    if (count * 2 < capacity) return;
    capacity = capacity ? capacity * 2 : 64;
    list = static_cast<Newcomer *>(mem_grow(list, capacity * sizeof *list));
}

void newcomers_add(ConnId id, uint64_t now_ms) {
    if (count == capacity) make_room();
    list[count++] = {id, now_ms};
    if (left) left++;
}

void newcomers_settle(uint64_t now_ms, void (*settle)(ConnId)) {
    uint32_t over = 0;
    while (over < count && now_ms - list[over].since_ms >= newcomer_ms) over++;
    if (!over) return;
    for (uint32_t i = 0; i < over; i++)
        if (conn_get(list[i].id)) settle(list[i].id);
    count -= over;
    memmove(list, list + over, count * sizeof *list);
    next = next > over ? next - over : 0;
    if (left) left = count;
}

void newcomers_news() { left = count; }

void newcomers_serve(uint64_t us_max, void (*serve)(ConnId)) {
    uint64_t begin_us = left ? clock_us() : 0;
    for (uint32_t served = 1; left; served++) {
        left--;
        if (next >= count) next = 0;
        serve(list[next++].id);
        if (served % 4 == 0 && clock_us() - begin_us >= us_max) break;
    }
}

bool newcomers_wait() { return left > 0; }

void newcomers_free() {
    free(list);
    list = nullptr;
    count = capacity = next = left = 0;
}
