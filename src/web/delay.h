// Delay: who asks faster than the request rate is not refused but heard later (PROTOCOL §4 "by not reading rather than by errors"). A request that must wait stands here
// until its time; its connection reads nothing meanwhile. Loop thread only.
#pragma once

#include "net/conn.h"

// `ready` runs once at due_ms or a little later, if the connection is still there.
void delay_until(ConnId id, uint64_t due_ms, void (*ready)(ConnId id));
void delay_turn(uint64_t now_ms);
uint64_t delay_due_ms();   // 0: nobody waits
void delay_free();
