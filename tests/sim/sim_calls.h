// HTTP calls of the simulation: each on a connection of its own, answered once, or cut. Single-threaded.
#pragma once

#include "sim_client.h"

enum class CallKind : uint8_t { enter, other };

// False when too many are under way. `client`: whose token speaks; of CallKind::enter: who wants one.
bool call_begin(CallKind kind, Client *client, const char *method, const char *path, std::string_view body);
void calls_hear();
uint32_t calls_under_way();
void calls_lost();             // the server's process has ended
