// Confinement: what the process gives up for good before it reads the first byte of a stranger. Written against the kernel's own interface, in three
// parts that fail on their own: the identity of root (--user), the file system (Landlock), the system calls (seccomp). No state but one pointer for
// tests. The first two must run before any thread is started, for the kernel changes the calling thread alone and later ones inherit it; the last covers
// all threads at once. Nothing here can be taken back, which is the point.
#pragma once

#include "base/buf.h"

enum class SandboxMode : uint8_t { automatic, require, off }; // --sandbox

// --user. uid 0: none was given.
struct UserIds {
    uint32_t uid, gid;
};

// What may still be done below a folder.
enum class SandboxUse : uint8_t {
    own,    // all but running programs and making devices: the data folder
    read,   // files read: where --config and --stop-words are, since editors replace a file by another of its name
    remove, // files removed: where a Unix socket is, which is taken away at the end
};
struct SandboxPlace {
    const char *path; // own: the folder itself; else a file in it
    SandboxUse use;
};

// At the top of main, for every command: no core file and no debugger that would show passwords, no new rights by set-uid programs, small stacks.
void sandbox_harden_process();

// Before the loop is made: the kernel makes this process no io_uring (ENOSYS). libuv from 1.45 on would have one for its loop and end the process when sandbox_calls takes
// it away; that it must, since what is asked by a ring passes no filter.
void sandbox_no_ring();

// The folder is made if missing, and is given to `ids`. Then this process is `ids` and nobody else, and has tried that it cannot go back. False with a sentence.
[[nodiscard]] bool sandbox_become(UserIds ids, const char *data_dir, Buf *error);

// Opening, making and removing files outside `places` fails from now on (EACCES), and so do new TCP connections and listeners, and signals to others, where the
// kernel knows how. False, with what is missing in *why, when it does not.
[[nodiscard]] bool sandbox_files(const SandboxPlace *places, uint32_t count, Buf *why);

// From now on, in all threads: the calls of a server at work succeed, listen among them for what is bound already; socket, connect, bind, signals to others, their
// limits and making memory executable fail (EPERM); what only an intruder does (execve, fork, ptrace, mount, bpf …) ends the process; everything else is as if the
// kernel did not have it (ENOSYS), for which every C library has another way. False, with what is missing in *why.
[[nodiscard]] bool sandbox_calls(Buf *why);

// How the two reach the kernel: syscall(2). Tests put another kernel in its place.
extern long (*sandbox_kernel)(long number, long a, long b, long c, long d);
