// The server: owns the loop, puts the rooms together, and runs the ordered list at the end of each loop turn (ARCHITECTURE "Mark now, act at the end of the turn").
#pragma once

#include "options.h"

// Serves until SIGTERM or SIGINT. Returns the exit status: 0 after an orderly stop, 1 when it could not start (one line on standard error says why).
int server_run(Options *options);
