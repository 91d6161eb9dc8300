// The command line's end of a running server's control socket (DIR/control): one JSON object there, one back. Blocking; the server's end is server_control.
#pragma once

#include "admin.h"

// Tells the server that this process copies the database, until it closes what it gets. Below 0 when nobody answers there, which is no harm.
int control_hold(const char *data_dir);
// Is there a server that would answer?
bool control_answers(const char *data_dir);
// False when nobody answers there: *answer is untouched.
bool control_ask(const char *data_dir, const AdminCall &call, AdminAnswer *answer);
