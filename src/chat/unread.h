// What of a room somebody has not read, for `welcome`: from the ring where that reaches back to the mark, from what the store has counted before, brought up to
// date with the ring; else the store must be asked. What the store has counted is kept in a small table, one entry a place. Loop thread only.
#pragma once

#include "chat/hub.h"

// As of hub_rev. False: the store must be asked. `*looks`: how many entries of the ring may still be looked at.
bool unread_known(const Hub *h, const Member *member, uint32_t *looks, UnreadCount *out);
// Brings counts that are as of `rev` up to date. False: a message of the room was changed or deleted since, or the ring does not reach back so far, or `*looks` is used up; then
// *counts are more or less right.
bool unread_add_newer(const Hub *h, const Member *member, int64_t rev, uint32_t *looks, UnreadCount *counts);
// The count of a read of the kind `unread`, brought up to date. False: it has none, since the room was joined while it counted, and it is not known otherwise.
bool unread_of_read(const Hub *h, const StoreRead *rd, const Member *member, UnreadCount *out);
// The store has counted, at `rev`, the messages of the room above the mark.
void unread_note(const Mark &mark, int64_t rev, const UnreadCount &counts);
// The log may go on another way than it did: after a store that failed was opened anew.
void unread_forget();
