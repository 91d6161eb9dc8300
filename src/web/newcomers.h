// Newcomers: who has just gone live. A thousand that come back at once are a thousand more to be sent each message, 10 µs each; those who were there before would
// wait for them in every turn. So for a second newcomers have a part of the turn of their own, behind the others, and who finds it used up is served in the next one:
// a cursor into the ring loses nothing by it. Each in turn; nobody is forgotten. Loop thread only.
#pragma once

#include "net/conn.h"

void newcomers_add(ConnId id, uint64_t now_ms);
// Those whose second is over are newcomers no more: `settle` is told each that is still connected.
void newcomers_settle(uint64_t now_ms, void (*settle)(ConnId id));
// There is something new for all of them.
void newcomers_news();
// `serve` for each that has not been looked at since, as many as `us_max` allows, four at least.
void newcomers_serve(uint64_t us_max, void (*serve)(ConnId id));
bool newcomers_wait();     // some have not been looked at
void newcomers_free();
