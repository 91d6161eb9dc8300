// Confinement, by the kernel's own interface: three parts, in the order of the header.
#include "sandbox.h"

#include "base/assert.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long ask_kernel(long number, long a, long b, long c, long d) { return syscall(number, a, b, c, d); }
long (*sandbox_kernel)(long, long, long, long, long) = ask_kernel;

template <typename T>
static long address_of(T *p) {
    return reinterpret_cast<long>(p);
}

// --- the process

void sandbox_harden_process() {
    // libuv's threads take the stack limit as address space each (8 MiB by default) and libuv aborts when one cannot start: so that it runs in 32 MiB. Its own pool
    // of threads is hardly used; ours are started by base/worker.
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) == 0) {
        limit.rlim_cur = 512 * 1024;
        (void)setrlimit(RLIMIT_STACK, &limit);
    }
    (void)setenv("UV_THREADPOOL_SIZE", "1", 0);
    limit = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &limit);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#ifndef CB_SANITIZED // the leak sanitizer looks at the process as a debugger does
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

// --- the user

static bool is_now(UserIds ids) {
    uid_t u[3];
    gid_t g[3];
    if (getresuid(&u[0], &u[1], &u[2]) != 0 || getresgid(&g[0], &g[1], &g[2]) != 0) return false;
    for (int i = 0; i < 3; i++)
        if (u[i] != ids.uid || g[i] != ids.gid) return false;
    return true;
}

static bool can_go_back() { return setresuid(static_cast<uid_t>(-1), 0, static_cast<uid_t>(-1)) == 0 || setresgid(static_cast<gid_t>(-1), 0, static_cast<gid_t>(-1)) == 0; }

// The database of a time without --user belongs to root.
static bool data_is_ours(const char *dir, UserIds ids, Buf *error) {
    for (const char *file : {"", "/lock", "/chatterbox.db"}) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s%s", dir, file);
        if (access(path, file[0] ? R_OK | W_OK : R_OK | W_OK | X_OK) == 0 || errno == ENOENT) continue;
        buf_printf(*error, "--user %u:%u cannot write %s (%s): chown -R %u:%u %s", ids.uid, ids.gid, path, strerror(errno), ids.uid, ids.gid, dir);
        return false;
    }
    return true;
}

bool sandbox_become(UserIds ids, const char *data_dir, Buf *error) {
    bool is_new;
    if (!store_make_folder(data_dir, &is_new, error)) return false;
    if (ids.uid == 0) return true;
    if (geteuid() == 0) {
        bool given = !is_new || chown(data_dir, ids.uid, ids.gid) == 0;
        if (!given || setgroups(0, nullptr) != 0 || setresgid(ids.gid, ids.gid, ids.gid) != 0 || setresuid(ids.uid, ids.uid, ids.uid) != 0) {
            buf_printf(*error, "cannot become --user %u:%u: %s", ids.uid, ids.gid, strerror(errno));
            return false;
        }
    }
    if (!is_now(ids)) {
        buf_printf(*error, "--user %u:%u: only root can become another user", ids.uid, ids.gid);
        return false;
    }
    if (can_go_back()) {
        buf_add(*error, "--user: this process could become root again");
        return false;
    }
    return data_is_ours(data_dir, ids, error);
}

// --- the file system: Landlock. Its header may be older than the kernel, so what we need of it stands here (Documentation/userspace-api/landlock.rst).

constexpr uint64_t right_write = 1 << 1, right_read = 1 << 2, right_list = 1 << 3, right_remove_folder = 1 << 4, right_remove = 1 << 5, right_make_folder = 1 << 7,
                   right_make = 1 << 8, right_make_socket = 1 << 9, right_refer = 1 << 13, right_truncate = 1 << 14;
constexpr uint64_t rights_own = right_write | right_read | right_list | right_remove_folder | right_remove | right_make_folder | right_make | right_make_socket | right_refer |
                              right_truncate;
constexpr uint64_t network_tcp = 3; // bind and connect
constexpr uint64_t scope_all = 3;   // abstract Unix sockets and signals of others

struct Ruleset {
    uint64_t files, network, scopes;
};
struct [[gnu::packed]] PlaceRule {
    uint64_t rights;
    int32_t folder;
};

#ifndef __NR_landlock_create_ruleset
#ifdef __mips__
#define __NR_landlock_create_ruleset 4444
#define __NR_landlock_add_rule 4445
#define __NR_landlock_restrict_self 4446
#else
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule 445
#define __NR_landlock_restrict_self 446
#endif
#endif

// All the rights that a kernel of this version knows: what is handled and not given is refused. The first had 13.
static uint64_t rights_known(long version) {
    int bits = version >= 5 ? 16 : version >= 3 ? 15 : version >= 2 ? 14 : 13;
    return (uint64_t{1} << bits) - 1;
}

static void folder_of(const char *path, char out[PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    if (!slash) snprintf(out, PATH_MAX, ".");
    else snprintf(out, PATH_MAX, "%.*s", static_cast<int>(slash == path ? 1 : slash - path), path);
}

static bool let_use(int ruleset, const SandboxPlace &place, uint64_t known) {
    char folder[PATH_MAX];
    if (place.use == SandboxUse::own) snprintf(folder, sizeof folder, "%s", place.path);
    else folder_of(place.path, folder);
    int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    uint64_t rights = place.use == SandboxUse::own ? rights_own : place.use == SandboxUse::read ? right_read : right_remove;
    PlaceRule rule = {.rights = rights & known, .folder = fd};
    bool good = sandbox_kernel(__NR_landlock_add_rule, ruleset, 1, address_of(&rule), 0) == 0;
    close(fd);
    return good;
}

bool sandbox_files(const SandboxPlace *places, uint32_t count, Buf *why) {
#ifdef CB_SANITIZED
    buf_add(*why, "this build has sanitizers, which read files of their own");
    return false;
#endif
    long version = sandbox_kernel(__NR_landlock_create_ruleset, 0, 0, 1, 0);
    if (version <= 0) {
        buf_add(*why, "this kernel has no Landlock, so the other files of its user stay in reach");
        return false;
    }
    uint64_t known = rights_known(version);
    Ruleset rules = {.files = known, .network = version >= 4 ? network_tcp : 0, .scopes = version >= 6 ? scope_all : 0};
    // An older kernel refuses what it does not know, even when it is zero and the structure is longer: it gets its own length.
    long size = version >= 6 ? sizeof rules : version >= 4 ? offsetof(Ruleset, scopes) : offsetof(Ruleset, network);
    int ruleset = static_cast<int>(sandbox_kernel(__NR_landlock_create_ruleset, address_of(&rules), size, 0, 0));
    bool good = ruleset >= 0;
    for (uint32_t i = 0; good && i < count; i++) good = let_use(ruleset, places[i], known);
    good = good && sandbox_kernel(__NR_landlock_restrict_self, ruleset, 0, 0, 0) == 0;
    if (!good) buf_printf(*why, "Landlock refused: %s", strerror(errno));
    if (ruleset >= 0) close(ruleset);
    return good;
}

// --- the system calls: a seccomp filter. Names are from <sys/syscall.h>, whichever this machine and this C library have; 32-bit machines have both forms of
// what takes a time or an offset.

static const uint32_t calls_allowed[] = {
    __NR_epoll_pwait, __NR_read, __NR_write, __NR_writev, __NR_sendmsg, __NR_futex, __NR_pwrite64, __NR_pread64, __NR_fdatasync, __NR_epoll_ctl, __NR_accept4, __NR_close,
    __NR_readv, __NR_sendto, __NR_recvfrom, __NR_recvmsg, __NR_shutdown, __NR_getsockopt, __NR_setsockopt, __NR_getsockname, __NR_getpeername, __NR_ppoll, __NR_eventfd2,
    __NR_pipe2, __NR_epoll_create1,
    __NR_listen, // a listener that rested (net/conn_accept); without socket and bind there is no other to listen on
    // files
    __NR_openat, __NR_fcntl, __NR_lseek, __NR_fsync, __NR_ftruncate, __NR_fallocate, __NR_flock, __NR_unlinkat, __NR_renameat2, __NR_mkdirat, __NR_faccessat, __NR_faccessat2,
    __NR_fchmod, __NR_fchown, __NR_readlinkat, __NR_statx, __NR_fstatfs, __NR_statfs, __NR_getdents64, __NR_getcwd, __NR_umask,
    // memory and threads
    __NR_brk, __NR_munmap, __NR_mremap, __NR_madvise, __NR_membarrier, __NR_sched_yield, __NR_sched_getaffinity, __NR_set_robust_list, __NR_rseq, __NR_gettid, __NR_exit,
    __NR_exit_group,
    // signals: one's own end, and the loop's
    __NR_rt_sigaction, __NR_rt_sigprocmask, __NR_rt_sigreturn, __NR_sigaltstack, __NR_restart_syscall,
    // what there is to know
    __NR_nanosleep, __NR_getrandom, __NR_getpid, __NR_getuid, __NR_geteuid, __NR_getgid, __NR_getegid, __NR_uname, __NR_sysinfo, __NR_getrusage,
#ifdef __NR_clock_gettime // musl calls the 32-bit form by another name
    __NR_clock_gettime, __NR_clock_getres, __NR_clock_nanosleep, __NR_gettimeofday,
#else
    __NR_clock_gettime32, __NR_clock_getres_time32, __NR_clock_nanosleep_time32, __NR_gettimeofday_time32,
#endif
#ifdef __NR_futex_time64 // 32-bit machines
    __NR_futex_time64, __NR_clock_gettime64, __NR_clock_getres_time64, __NR_clock_nanosleep_time64, __NR_ppoll_time64, __NR__llseek, __NR_fcntl64, __NR_fstat64, __NR_fstatat64,
    __NR_stat64, __NR_lstat64, __NR_ftruncate64, __NR_fstatfs64, __NR_statfs64, __NR_sigreturn,
#else
    __NR_newfstatat, __NR_fstat,
#endif
#ifdef __NR_open // machines older than arm64
    __NR_open, __NR_stat, __NR_lstat, __NR_access, __NR_unlink, __NR_rename, __NR_mkdir, __NR_readlink, __NR_poll, __NR_epoll_wait,
#endif
#ifdef __NR_getrlimit // not on ARM since its EABI, where there is ugetrlimit
    __NR_getrlimit,
#endif
#ifdef __NR_time
    __NR_time,
#endif
#ifdef __NR_renameat // all but riscv64
    __NR_renameat,
#endif
#ifdef __arm__
    __NR_getuid32, __NR_geteuid32, __NR_getgid32, __NR_getegid32, __NR_fchown32, __NR_ugetrlimit, 0x0f0002, 0x0f0005, // the processor's cache, the thread's place
#endif
#ifdef __mips__
    __NR_cacheflush, __NR_set_thread_area,
#endif
#ifdef __riscv
    __NR_riscv_flush_icache,
#endif
};
static const uint32_t calls_hostile[] = {
    __NR_execve, __NR_execveat, __NR_ptrace, __NR_process_vm_readv, __NR_process_vm_writev, __NR_setns, __NR_unshare, __NR_mount, __NR_umount2, __NR_pivot_root, __NR_chroot,
    __NR_init_module, __NR_finit_module, __NR_delete_module, __NR_kexec_load, __NR_bpf, __NR_perf_event_open, __NR_userfaultfd, __NR_keyctl, __NR_add_key,
    __NR_open_by_handle_at, __NR_memfd_create, __NR_io_uring_setup, __NR_personality, __NR_mknodat, __NR_capset, __NR_reboot, __NR_setuid, __NR_setgid, __NR_setresuid,
    __NR_setresgid, __NR_setgroups,
#ifdef __NR_fork
    __NR_fork,
#endif
#ifdef __NR_vfork // not on MIPS
    __NR_vfork,
#endif
};
static const uint32_t calls_refused[] = {__NR_socket, __NR_socketpair, __NR_connect, __NR_bind};

#if defined __x86_64__
constexpr uint32_t machine = AUDIT_ARCH_X86_64;
#elif defined __aarch64__
constexpr uint32_t machine = AUDIT_ARCH_AARCH64;
#elif defined __arm__
constexpr uint32_t machine = AUDIT_ARCH_ARM;
#elif defined __riscv
constexpr uint32_t machine = AUDIT_ARCH_RISCV64;
#elif defined __mips__
constexpr uint32_t machine = AUDIT_ARCH_MIPSEL;
#else
constexpr uint32_t machine = 0; // not one of ours: no filter
#endif
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the low half of an argument comes first");

#ifdef __NR_mmap2
constexpr uint32_t mmap_number = __NR_mmap2;
#else
constexpr uint32_t mmap_number = __NR_mmap;
#endif
constexpr uint32_t program_max = 240; // a jump spans at most 255
constexpr uint32_t thread_flags = 0x00000100 | 0x00010000; // CLONE_VM, CLONE_THREAD
constexpr uint32_t fork_flags = 0x7e020080;                // every CLONE_NEW…

enum class Verdict : uint8_t { allow, refuse, unknown, kill, look };

// Jumps name a verdict until the program is whole and it is known where the verdicts stand.
struct Program {
    sock_filter code[program_max];
    uint32_t len;
};

static void put(Program &p, uint16_t code, uint32_t k, uint8_t yes = 0, uint8_t no = 0) {
    CB_ASSERT(p.len < program_max);
    p.code[p.len++] = {code, yes, no, k};
}

constexpr uint16_t load = BPF_LD | BPF_W | BPF_ABS, same = BPF_JMP | BPF_JEQ | BPF_K, bits = BPF_JMP | BPF_JSET | BPF_K, give = BPF_RET | BPF_K;
constexpr uint8_t later = 200; // + verdict: where this jump goes; look: to what depends on the arguments

static uint8_t to(Verdict v) { return static_cast<uint8_t>(later + static_cast<uint8_t>(v)); }

static void put_argument(Program &p, uint32_t index) { put(p, load, static_cast<uint32_t>(offsetof(seccomp_data, args) + 8 * index)); }

// Memory that is written and then run is how an intrusion goes on.
static void put_no_code(Program &p, uint32_t number) {
    put(p, same, number, 0, 3);
    put_argument(p, 2);
    put(p, bits, PROT_EXEC, to(Verdict::refuse), 0);
    put(p, give, SECCOMP_RET_ALLOW);
}

// Threads, no processes and no name spaces. clone3 has its flags in memory, where a filter cannot look: to it this kernel is too old, and the library takes clone.
static void put_clone(Program &p) {
    put(p, same, __NR_clone, 0, 4);
    put_argument(p, 0);
    put(p, bits, fork_flags, to(Verdict::kill), 0);
    put(p, BPF_ALU | BPF_AND | BPF_K, thread_flags);
    put(p, same, thread_flags, to(Verdict::allow), to(Verdict::kill));
}

// What libuv and stdio ask of sockets and streams; an ioctl that types into a terminal is not among it.
static void put_ioctl(Program &p) {
    put(p, same, __NR_ioctl, 0, 7);
    put_argument(p, 1);
    for (uint32_t request : {uint32_t{FIONBIO}, uint32_t{FIOCLEX}, uint32_t{FIONCLEX}, uint32_t{TCGETS}, uint32_t{TIOCGWINSZ}}) put(p, same, request, to(Verdict::allow), 0);
    put(p, give, SECCOMP_RET_ERRNO | EPERM);
}

// Of calls that act on whom their first argument names, those on nobody but oneself.
static void put_whom(Program &p, uint32_t number, uint32_t whom) {
    put(p, same, number, 0, 2);
    put_argument(p, 0);
    put(p, same, whom, to(Verdict::allow), to(Verdict::refuse));
}

// The thread that calls may give way to others (base/worker): of no other thread, process or user.
static void put_priority(Program &p) {
    put(p, same, __NR_setpriority, 0, 4);
    put_argument(p, 0);
    put(p, same, PRIO_PROCESS, 0, to(Verdict::refuse));
    put_argument(p, 1);
    put(p, same, 0, to(Verdict::allow), to(Verdict::refuse));
}

// The numbers from here to the next range's have one answer. In order, and halved at each jump: the kernel runs the filter once for each call there is when it
// takes it, and once for each call that is made if it is an older one, and a list of a hundred in a row was a tenth of a millisecond of each start.
struct Range {
    uint32_t from;
    Verdict verdict;
};
struct Ranges {
    Range list[program_max];
    uint32_t count;
};

static void say(Ranges &r, const uint32_t *numbers, size_t count, Verdict verdict) {
    for (size_t i = 0; i < count; i++) {
        CB_ASSERT(r.count < program_max);
        uint32_t at = r.count++;
        for (; at > 0 && r.list[at - 1].from > numbers[i]; at--) r.list[at] = r.list[at - 1];
        r.list[at] = {numbers[i], verdict};
    }
}

// From single numbers to ranges: what lies between them is unknown.
static void join(const Ranges &numbers, Ranges &out) {
    out.count = 0;
    uint32_t next = 0;
    auto add = [&](uint32_t from, Verdict verdict) {
        if (out.count && out.list[out.count - 1].verdict == verdict) return;
        CB_ASSERT(out.count < program_max);
        out.list[out.count++] = {from, verdict};
    };
    for (uint32_t i = 0; i < numbers.count; i++) {
        if (numbers.list[i].from > next || i == 0) add(next, Verdict::unknown);
        add(numbers.list[i].from, numbers.list[i].verdict);
        next = numbers.list[i].from + 1;
    }
    add(next, Verdict::unknown);
}

static void put_halves(Program &p, const Range *list, uint32_t count) {
    uint32_t half = count / 2, at = p.len;
    put(p, BPF_JMP | BPF_JGE | BPF_K, list[half].from, count - half == 1 ? to(list[half].verdict) : 0, half == 1 ? to(list[0].verdict) : 0);
    if (half > 1) put_halves(p, list, half);
    if (count - half == 1) return;
    CB_ASSERT(p.len - at - 1 < later);
    p.code[at].jt = static_cast<uint8_t>(p.len - at - 1);
    put_halves(p, list + half, count - half);
}

static void set_jumps(Program &p, const uint32_t *places) {
    for (uint32_t i = 0; i < p.len; i++) {
        if (BPF_CLASS(p.code[i].code) != BPF_JMP) continue;
        for (uint8_t *jump : {&p.code[i].jt, &p.code[i].jf})
            if (*jump >= later) *jump = static_cast<uint8_t>(places[*jump - later] - i - 1);
    }
}

static void build(Program &p) {
    put(p, load, offsetof(seccomp_data, arch));
    put(p, same, machine, 0, to(Verdict::kill)); // another machine's numbers mean other calls
    put(p, load, offsetof(seccomp_data, nr));
    static Ranges numbers, ranges;
    static const uint32_t calls_looked_at[] = {
        __NR_clone, __NR_ioctl, __NR_tgkill, __NR_tkill, __NR_prlimit64, __NR_setpriority, __NR_mprotect, mmap_number,
    };
    numbers.count = 0;
    say(numbers, calls_allowed, sizeof calls_allowed / sizeof *calls_allowed, Verdict::allow);
    say(numbers, calls_refused, sizeof calls_refused / sizeof *calls_refused, Verdict::refuse);
    say(numbers, calls_hostile, sizeof calls_hostile / sizeof *calls_hostile, Verdict::kill);
    say(numbers, calls_looked_at, sizeof calls_looked_at / sizeof *calls_looked_at, Verdict::look);
    join(numbers, ranges);
#ifdef __x86_64__
    ranges.list[ranges.count++] = {0x40000000, Verdict::kill}; // the x32 form of calls, past the list
#endif
    put_halves(p, ranges.list, ranges.count);
    uint32_t places[5];
    places[static_cast<uint8_t>(Verdict::look)] = p.len;
    put_clone(p);
    put_ioctl(p);
    // A process ends itself (abort) and nobody else. tkill is musl's way, and names a thread: here that is the first one, which has the process's number. musl's abort in
    // another one is refused it and then ends by touching memory that is not there.
    auto self = static_cast<uint32_t>(getpid());
    put_whom(p, __NR_tgkill, self);
    put_whom(p, __NR_tkill, self);
    put_priority(p);
    put_whom(p, __NR_prlimit64, 0); // the limits of another process can end it: no more processor time, no more files
    put_no_code(p, __NR_mprotect);
    put_no_code(p, mmap_number);
    const struct {
        Verdict verdict;
        uint32_t action;
    } ends[] = {{Verdict::unknown, SECCOMP_RET_ERRNO | ENOSYS}, {Verdict::refuse, SECCOMP_RET_ERRNO | EPERM}, {Verdict::kill, SECCOMP_RET_KILL_PROCESS}, {Verdict::allow, SECCOMP_RET_ALLOW}};
    for (auto &end : ends) {
        places[static_cast<uint8_t>(end.verdict)] = p.len;
        put(p, give, end.action);
    }
    set_jumps(p, places);
}

static bool install(Program &p, long flags) {
    sock_fprog program = {.len = static_cast<unsigned short>(p.len), .filter = p.code};
    return sandbox_kernel(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, address_of(&program), 0) == 0;
}

void sandbox_no_ring() {
    static Program p;
    p.len = 0;
    put(p, load, offsetof(seccomp_data, nr));
    put(p, same, __NR_io_uring_setup, 0, 1);
    put(p, give, SECCOMP_RET_ERRNO | ENOSYS);
    put(p, give, SECCOMP_RET_ALLOW);
    (void)install(p, 0); // where it cannot be, there will be no filter that a ring could pass by
}

bool sandbox_calls(Buf *why) {
#ifdef CB_SANITIZED
    buf_add(*why, "this build has sanitizers, which make calls of their own");
    return false;
#endif
    static Program p;
    p.len = 0;
    if (machine) build(p);
    if (machine && install(p, SECCOMP_FILTER_FLAG_TSYNC)) return true;
    buf_printf(*why, "this kernel filters no system calls (%s)", strerror(machine ? errno : ENOSYS));
    return false;
}
