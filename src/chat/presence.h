// Who is here (PROTOCOL §3.1 `presence`, `ready`): somebody is online with the first socket and offline when the last has been gone for presence_linger_ms. Changes are gathered and
// told at most once a second. Also `typing`, which is as fleeting. Loop thread only.
#pragma once

#include "base/json.h"
#include "chat/hub.h"

void presence_come(Hub *h, User *user, uint64_t now_ms);   // a socket of this user was opened
void presence_leave(Hub *h, User *user, uint64_t now_ms);  // … and closed
void presence_end(Hub *h, User *user, uint64_t now_ms);    // blocked or deleted, its sockets closed: it is offline at once
void presence_turn(Hub *h, uint64_t now_ms);
uint64_t presence_due_ms(const Hub *h);
// Writes "online":[…], or "online_count":n when there are too many, into an open object.
void presence_put_online(Hub *h, JsonWriter &w);
Err presence_typing(Hub *h, User *user, int64_t room, uint64_t now_ms);
