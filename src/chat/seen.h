// Read marks (PROTOCOL §1 "Read marks", §3.2 `seen`): a mark only grows; the others are told at most once a second for each user and room; the disk gets it with other commits or
// after at most seen_write_ms_max. Loop thread only.
#pragma once

#include "chat/hub.h"

// `user` has seen everything in `room` up to `id` (more than the newest counts as the newest).
Err seen_mark(Hub *h, User *user, int64_t room, int64_t id, uint64_t now_ms);
// The store was opened anew, and of this mark the disk knew nothing: the others do.
void seen_keep(Hub *h, Member *member, int64_t id, uint64_t now_ms);
void seen_turn(Hub *h, uint64_t now_ms);
uint64_t seen_due_ms(const Hub *h);   // 0: nothing waits
