// What the console shows when the server serves: where to open it, the one-time link that makes an administrator, and what the operator should know.
#pragma once

#include "options.h"

// "http://127.0.0.1:8000", "unix:/path".
void greeting_address(const ListenAddress &where, Buf &out);
// Looks for the addresses of this machine, once the listeners have their ports. It asks the kernel by a socket, which a confined process cannot make.
void greeting_look(const Options *options);
// invite: the token of the administrator link, or "". The lines `listening on …` come last: with them the server serves.
void greeting_print(const Options *options, const Hub *hub, const char *invite);
