// The server's end of the control socket: DIR/control, mode 0600, only for the server's own user and root. The command line's calls are carried out here as if they were the
// server's own, so they take effect at once. Loop thread.
#pragma once

#include "chat/hub.h"

struct uv_loop_s;

// False with a line in *error. A stale socket file is replaced (the data directory's lock is ours).
[[nodiscard]] bool control_start(uv_loop_s *loop, Hub *hub, const char *data_dir, Buf *error);
void control_stop();
