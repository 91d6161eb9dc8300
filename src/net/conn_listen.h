// A listener: a socket where others come, on TCP or in the file system. It outlives the want of descriptors: when there is none (or no memory) for who comes, libuv
// would ask for one again and again and come back to nothing else, so the listener lets go of libuv's handle, rests for a moment and takes another; who comes
// meanwhile waits in the kernel. Used by conn_accept.cpp and by the control socket. Loop thread only.
#pragma once

#include <sys/types.h>
#include <sys/un.h>
#include <uv.h>

#include "net/address.h"

struct Listener {
    uv_loop_t *loop;
    void (*guest)(Listener *l); // somebody has come and is to be taken with uv_accept(&l->stream, …); whoever is not holds up those behind
    bool is_unix;
    bool is_awake;  // libuv has a handle of it
    bool has_guest; // conn_accept.cpp's: somebody has been left standing until the next turn
    int socket;     // another descriptor of it, which outlives the handle; -1: it is over
    uint8_t handles; // libuv's, not yet closed
    char path[sizeof(sockaddr_un::sun_path)]; // of a Unix socket that is ours to remove
    dev_t device; // … as long as the file there is this one
    ino_t file;
    uv_timer_t rest;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
};

// Binds and listens. The file of a Unix socket gets the rights `mode`; one that is left of a server which has gone is replaced. Returns 0 or a negative libuv
// error, and then there is nothing to close. *port gets the port that was bound.
[[nodiscard]] int listener_open(Listener **out, uv_loop_t *loop, const ListenAddress &where, mode_t mode, void (*guest)(Listener *), uint16_t *port);
// Nobody comes any more, and the file goes. The memory goes with the handles, when the loop has run.
void listener_close(Listener *l);
