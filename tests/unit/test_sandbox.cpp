// Confinement: a child applies it and tries what must not work and what must; a kernel that lacks it, or half of it, is played.
#include "unit.h"

#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static char folder[64], inside[96], outside[96], config[96];

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int setup(void **) {
    snprintf(folder, sizeof folder, "/tmp/sandbox-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chmod(folder, 0755), 0);
    char path[96];
    for (const char *name : {"data", "conf", "conf/more", "other"}) {
        snprintf(path, sizeof path, "%s/%s", folder, name);
        assert_int_equal(mkdir(path, 0777), 0);
    }
    snprintf(inside, sizeof inside, "%s/data", folder);
    snprintf(outside, sizeof outside, "%s/other/secret", folder);
    snprintf(config, sizeof config, "%s/conf/chatterbox.conf", folder);
    write_text(outside, "secret");
    write_text(config, "name = x");
    return 0;
}

static int teardown(void **) {
    char line[128];
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

// What became of a child that did `act`: its exit status, or 1000 + the signal that ended it.
template <typename Act>
static int child_does(Act act) {
    fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
        sandbox_harden_process();
        _exit(act());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool confine_files() {
    const SandboxPlace places[] = {{inside, SandboxUse::own}, {config, SandboxUse::read}};
    ScopedBuf why;
    return sandbox_files(places, 2, &why);
}

static bool confine_calls() {
    ScopedBuf why;
    return sandbox_calls(&why);
}

// Does this kernel have it? Then the tests below must not be passed by its lack.
static bool has_landlock() { return syscall(444, 0, 0, 1) > 0; }

static bool fails_with(long result, int error) { return result < 0 && errno == error; }

static bool opens(const char *path, int flags) {
    int fd = open(path, flags, 0600);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

static void files_are_those_of_the_data_folder(void **) {
#ifdef CB_SANITIZED
    skip();
#endif
    if (!has_landlock()) skip();
    int how = child_does([] {
        if (!confine_files()) return 1;
        char path[128], other[128];
        snprintf(path, sizeof path, "%s/chatterbox.db", inside);
        snprintf(other, sizeof other, "%s/other.db", inside);
        // In the data folder all goes on.
        if (!opens(path, O_RDWR | O_CREAT) || !opens(path, O_RDWR | O_TRUNC) || rename(path, other) != 0 || unlink(other) != 0) return 2;
        snprintf(path, sizeof path, "%s/files", inside);
        if (mkdir(path, 0700) != 0 || !opens(inside, O_RDONLY | O_DIRECTORY) || rmdir(path) != 0) return 3;
        // Elsewhere nothing is read, made, cut, moved or removed; root is no exception.
        if (opens(outside, O_RDONLY) || opens(outside, O_WRONLY) || opens("/etc/passwd", O_RDONLY) || opens("/proc/self/mem", O_RDWR) || opens("/", O_RDONLY | O_DIRECTORY)) return 4;
        snprintf(path, sizeof path, "%s/other/new", folder);
        if (opens(path, O_RDWR | O_CREAT) || mkdir(path, 0700) == 0 || symlink("x", path) == 0 || unlink(outside) == 0 || truncate(outside, 0) == 0) return 5;
        // A link out of the data folder leads nowhere.
        snprintf(path, sizeof path, "%s/link", inside);
        if (symlink(outside, path) == 0 || link(outside, path) == 0) return 6;
        // The configuration is read, and what lies beside it, since it may be replaced; it is not written.
        if (!opens(config, O_RDONLY) || opens(config, O_WRONLY) || unlink(config) == 0) return 7;
        // No program is started, not even from the data folder.
        return access("/bin/true", X_OK) == 0 && execl("/bin/true", "true", nullptr) == -1 && errno == EACCES ? 0 : 8;
    });
    assert_int_equal(how, 0);
}

// Landlock knows no right to change a file's mode: that is for the list of calls. The mode of one's own open files may be changed.
static void modes_of_files_elsewhere_stay(void **) {
#ifdef CB_SANITIZED
    skip();
#endif
    assert_int_equal(chmod(outside, 0600), 0);
    int how = child_does([] {
        int own = open(config, O_RDONLY);
        if (!confine_files() || !confine_calls()) return 1;
        for (const char *path : {outside, config, inside})
            if (chmod(path, 0777) == 0 || fchmodat(AT_FDCWD, path, 0777, 0) == 0 || fchmodat(AT_FDCWD, path, 0777, AT_SYMLINK_NOFOLLOW) == 0) return 2;
        return fchmod(own, 0600) == 0 ? 0 : 3;
    });
    assert_int_equal(how, 0);
    struct stat st;
    assert_int_equal(stat(outside, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void the_file_of_a_socket_can_be_taken_away(void **) {
#ifdef CB_SANITIZED
    skip();
#endif
    if (!has_landlock()) skip();
    int how = child_does([] {
        const SandboxPlace places[] = {{inside, SandboxUse::own}, {outside, SandboxUse::remove}};
        ScopedBuf why;
        if (!sandbox_files(places, 2, &why)) return 1;
        return !opens(outside, O_RDONLY) && unlink(outside) == 0 ? 0 : 2;
    });
    assert_int_equal(how, 0);
}

static void a_server_can_still_do_its_work(void **) {
#ifdef CB_SANITIZED
    skip();
#endif
    int how = child_does([] {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || !confine_calls()) return 1;
        if (prctl(PR_GET_SECCOMP) != -1) return 2; // prctl itself is not there any more
        char byte = 'x';
        iovec vector = {&byte, 1};
        if (write(pair[0], "a", 1) != 1 || read(pair[1], &byte, 1) != 1 || writev(pair[1], &vector, 1) != 1 || recv(pair[0], &byte, 1, 0) != 1) return 3;
        char path[128];
        snprintf(path, sizeof path, "%s/work", inside);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || pwrite(fd, "abc", 3, 0) != 3 || ftruncate(fd, 1) != 0 || fdatasync(fd) != 0 || lseek(fd, 0, SEEK_END) != 1) return 4;
        struct stat st;
        if (fstat(fd, &st) != 0 || stat(path, &st) != 0 || st.st_size != 1 || unlink(path) != 0) return 5;
        void *memory = malloc(8 << 20);
        if (!memory) return 6;
        memset(memory, 1, 8 << 20);
        pthread_t thread;
        auto idle = [](void *) -> void * { return nullptr; };
        if (pthread_create(&thread, nullptr, idle, nullptr) != 0 || pthread_join(thread, nullptr) != 0) return 7;
        timespec soon = {0, 1000}, now;
        return nanosleep(&soon, nullptr) == 0 && clock_gettime(CLOCK_REALTIME, &now) == 0 ? 0 : 8;
    });
    assert_int_equal(how, 0);
}

static void what_an_intruder_tries_fails_or_is_the_end(void **) {
#ifdef CB_SANITIZED
    skip();
#endif
    const struct {
        const char *what;
        int (*act)(); // 0: it failed, as it should
        int end;
    } rows[] = {
        {"execve", [] { return execl("/bin/true", "true", nullptr) ? 9 : 9; }, 1000 + SIGSYS},
        {"fork", [] { return fork() < 0 ? 9 : 8; }, 1000 + SIGSYS},
        {"vfork", [] { return syscall(__NR_clone, SIGCHLD, 0, 0, 0, 0) < 0 ? 9 : 8; }, 1000 + SIGSYS},
        {"a name space", [] { return unshare(CLONE_NEWUSER) < 0 ? 9 : 8; }, 1000 + SIGSYS},
        {"ptrace", [] { return ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 ? 9 : 8; }, 1000 + SIGSYS},
        {"setuid", [] { return setuid(0) < 0 ? 9 : 8; }, 1000 + SIGSYS},
        {"bpf", [] { return syscall(__NR_bpf, 0, 0, 0) < 0 ? 9 : 8; }, 1000 + SIGSYS},
        {"memfd_create", [] { return syscall(__NR_memfd_create, "x", 0) < 0 ? 9 : 8; }, 1000 + SIGSYS},
        {"clone3 is unknown, so that libraries take clone", [] { return fails_with(syscall(435, 0, 0), ENOSYS) ? 0 : 8; }, 0},
        {"a call that nobody knows", [] { return fails_with(syscall(4000), ENOSYS) ? 0 : 8; }, 0},
        {"socket(AF_INET)", [] { return fails_with(socket(AF_INET, SOCK_STREAM, 0), EPERM) ? 0 : 8; }, 0},
        {"socket(AF_INET6)", [] { return fails_with(socket(AF_INET6, SOCK_DGRAM, 0), EPERM) ? 0 : 8; }, 0},
        {"socket(AF_UNIX)", [] { return fails_with(socket(AF_UNIX, SOCK_STREAM, 0), EPERM) ? 0 : 8; }, 0},
        {"socket(AF_NETLINK)", [] { return fails_with(socket(AF_NETLINK, SOCK_RAW, 0), EPERM) ? 0 : 8; }, 0},
        {"socket(AF_PACKET)", [] { return fails_with(socket(AF_PACKET, SOCK_RAW, 0), EPERM) ? 0 : 8; }, 0},
        {"connect", [] { return fails_with(connect(0, nullptr, 0), EPERM) ? 0 : 8; }, 0},
        {"bind", [] { return fails_with(bind(0, nullptr, 0), EPERM) ? 0 : 8; }, 0},
        {"memory to run", [] { return mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EPERM ? 0 : 8; }, 0},
        {"memory made to run",
         [] {
             void *page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
             return page != MAP_FAILED && fails_with(mprotect(page, 4096, PROT_READ | PROT_EXEC), EPERM) ? 0 : 8;
         },
         0},
        {"kill", [] { return kill(getppid(), 0) < 0 ? 0 : 8; }, 0},
        {"tgkill of another", [] { return fails_with(syscall(__NR_tgkill, 1, 1, 0), EPERM) ? 0 : 8; }, 0},
        {"one's own priority", [] { return syscall(__NR_setpriority, PRIO_PROCESS, 0, 5) == 0 ? 0 : 8; }, 0},
        {"another's priority", [] { return fails_with(syscall(__NR_setpriority, PRIO_PROCESS, getppid(), 5), EPERM) ? 0 : 8; }, 0},
        {"the user's priority", [] { return fails_with(syscall(__NR_setpriority, PRIO_USER, 0, 5), EPERM) ? 0 : 8; }, 0},
        {"tkill of another", [] { return fails_with(syscall(__NR_tkill, getppid(), 0), EPERM) ? 0 : 8; }, 0},
        {"tkill of oneself, as musl does it", [] { return syscall(__NR_tkill, gettid(), SIGABRT) == 0 ? 8 : 9; }, 1000 + SIGABRT},
        {"the limits of another",
         [] {
             rlimit limit;
             return fails_with(syscall(__NR_prlimit64, getppid(), RLIMIT_NOFILE, nullptr, &limit), EPERM) ? 0 : 8;
         },
         0},
        {"one's own limits",
         [] {
             rlimit limit;
             return syscall(__NR_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit) == 0 && getrlimit(RLIMIT_STACK, &limit) == 0 ? 0 : 8;
         },
         0},
        {"abort is one's own", [] { signal(SIGABRT, SIG_DFL); abort(); return 8; }, 1000 + SIGABRT},
        {"typing into a terminal", [] { return fails_with(syscall(__NR_ioctl, 0, 0x5412, "x"), EPERM) ? 0 : 8; }, 0},
#ifdef __x86_64__
        {"the x32 form of a call", [] { return syscall(0x40000000 | __NR_getpid) < 0 ? 9 : 8; }, 1000 + SIGSYS},
#endif
    };
    static int (*act)();
    for (auto &row : rows) {
        act = row.act;
        int how = child_does([] { return confine_calls() ? act() : 7; });
        check(how == row.end, "%s: got %d, want %d", row.what, how, row.end);
    }
}

// libuv asks for a ring when the loop is made, and goes on as ever where the kernel has none.
static void a_ring_is_not_to_be_had(void **) {
    auto asks = [] { return static_cast<int>(syscall(__NR_io_uring_setup, 0, nullptr)); };
    if (fails_with(asks(), ENOSYS)) skip();
    int how = child_does([] {
        sandbox_no_ring();
        bool has_none = fails_with(syscall(__NR_io_uring_setup, 0, nullptr), ENOSYS);
        return has_none && getppid() > 0 && opens(outside, O_RDONLY) ? 0 : 1;
    });
    assert_int_equal(how, 0);
#ifndef CB_SANITIZED
    how = child_does([] {
        sandbox_no_ring();
        if (!confine_calls()) return 7;
        return syscall(__NR_io_uring_setup, 0, nullptr) < 0 ? 9 : 8; // from now on it is an intruder's
    });
    assert_int_equal(how, 1000 + SIGSYS);
#endif
}

static void threads_that_run_already_are_covered(void **) {
#ifdef CB_SANITIZED
    skip();
#endif
    int how = child_does([] {
        static int go[2], result;
        if (pipe(go) != 0) return 1;
        pthread_t thread;
        auto wait_and_try = [](void *) -> void * {
            char byte;
            if (read(go[0], &byte, 1) == 1) result = fails_with(socket(AF_INET, SOCK_STREAM, 0), EPERM) ? 0 : 3;
            return nullptr;
        };
        if (pthread_create(&thread, nullptr, wait_and_try, nullptr) != 0 || !confine_calls()) return 2;
        result = 4;
        if (write(go[1], "x", 1) != 1) return 5;
        pthread_join(thread, nullptr);
        return result;
    });
    assert_int_equal(how, 0);
}

static void it_cannot_be_made_to_dump_or_gain(void **) {
#ifdef CB_SANITIZED
    skip();
#endif
    int how = child_does([] {
        rlimit core;
        return prctl(PR_GET_DUMPABLE) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 ? 0 : 1;
    });
    assert_int_equal(how, 0);
}

// --- another user

static void root_becomes_somebody_for_good(void **) {
    if (geteuid() != 0) skip();
    static char fresh[128];
    snprintf(fresh, sizeof fresh, "%s/other/made", folder);
    int how = child_does([] {
        ScopedBuf error;
        if (!sandbox_become({4321, 4322}, fresh, &error)) return 1;
        struct stat st;
        if (stat(fresh, &st) != 0 || st.st_uid != 4321 || st.st_gid != 4322 || (st.st_mode & 0777) != 0700) return 2;
        gid_t groups[8];
        if (getuid() != 4321 || getgid() != 4322 || getgroups(8, groups) != 0) return 3;
        if (setuid(0) == 0 || setgid(0) == 0 || seteuid(0) == 0 || opens("/etc/shadow", O_RDONLY)) return 4;
        // It is that user already: again is no mistake, another is.
        if (!sandbox_become({4321, 4322}, fresh, &error)) return 5;
        return sandbox_become({4323, 4322}, fresh, &error) ? 6 : 0;
    });
    assert_int_equal(how, 0);
}

static void the_owner_of_the_data_is_named(void **) {
    if (geteuid() != 0) skip();
    int how = child_does([] {
        chmod(inside, 0700);
        ScopedBuf error;
        if (sandbox_become({4321, 4322}, inside, &error)) return 1;
        char wanted[400];
        snprintf(wanted, sizeof wanted, "--user 4321:4322 cannot write %s (Permission denied): chown -R 4321:4322 %s", inside, inside);
        return buf_view(error) == wanted ? 0 : 2;
    });
    assert_int_equal(how, 0);
}

// --- kernels that are not this one

static long version, made_with_size, given_rules;
static uint64_t handled[3];
static int refuse_at; // the call that fails

static long play(long number, long a, long b, long c, long) {
    if (number == __NR_seccomp) {
        errno = ENOSYS;
        return -1;
    }
    if (number == 444 && c == 1) {
        if (version <= 0) errno = ENOSYS;
        return version <= 0 ? -1 : version;
    }
    if (number == refuse_at) {
        errno = EPERM;
        return -1;
    }
    if (number == 444) {
        made_with_size = b;
        memset(handled, 0, sizeof handled);
        memcpy(handled, (const void *)a, (size_t)b);
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    if (number == 445) {
        uint64_t rights;
        memcpy(&rights, (const void *)c, sizeof rights);
        check((rights & ~handled[0]) == 0, "version %ld: a right that is not handled", version);
        given_rules++;
    }
    return 0;
}

static void each_version_of_landlock_gets_what_it_knows(void **) {
#ifdef CB_SANITIZED
    skip();
#endif
    const struct {
        long version;
        uint64_t files, network, scopes;
        long size;
    } rows[] = {
        {1, 0x1fff, 0, 0, 8}, {2, 0x3fff, 0, 0, 8}, {3, 0x7fff, 0, 0, 8}, {4, 0x7fff, 3, 0, 16}, {5, 0xffff, 3, 0, 16}, {6, 0xffff, 3, 3, 24}, {9, 0xffff, 3, 3, 24},
    };
    auto before = sandbox_kernel;
    sandbox_kernel = play;
    refuse_at = 0;
    for (auto &row : rows) {
        version = row.version;
        given_rules = 0;
        assert_true(confine_files());
        check(handled[0] == row.files && handled[1] == row.network && handled[2] == row.scopes && made_with_size == row.size, "version %ld", row.version);
        assert_int_equal(given_rules, 2);
    }
    sandbox_kernel = before;
}

static void a_kernel_without_it_is_told_of(void **) {
    auto before = sandbox_kernel;
    sandbox_kernel = play;
    ScopedBuf why;
    const SandboxPlace place = {inside, SandboxUse::own};
    version = 0;
    assert_false(sandbox_files(&place, 1, &why));
    assert_true(why.len > 0);
#ifndef CB_SANITIZED
    assert_true(buf_view(why).find("no Landlock") != std::string_view::npos);
    version = 7;
    for (int call : {444, 445, 446}) {
        refuse_at = call;
        buf_clear(why);
        check(!sandbox_files(&place, 1, &why), "call %d", call);
        check_text(buf_view(why), "Landlock refused: Operation not permitted", "refused");
    }
    refuse_at = 0;
    buf_clear(why);
    const SandboxPlace nowhere = {"/no/such/folder", SandboxUse::own};
    assert_false(sandbox_files(&nowhere, 1, &why));
#endif
    buf_clear(why);
    assert_false(sandbox_calls(&why));
    assert_true(why.len > 0);
    sandbox_kernel = before;
}

int main() {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_are_those_of_the_data_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(modes_of_files_elsewhere_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(the_file_of_a_socket_can_be_taken_away, setup, teardown),
        cmocka_unit_test_setup_teardown(a_server_can_still_do_its_work, setup, teardown),
        cmocka_unit_test_setup_teardown(what_an_intruder_tries_fails_or_is_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_ring_is_not_to_be_had, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_that_run_already_are_covered, setup, teardown),
        cmocka_unit_test_setup_teardown(it_cannot_be_made_to_dump_or_gain, setup, teardown),
        cmocka_unit_test_setup_teardown(root_becomes_somebody_for_good, setup, teardown),
        cmocka_unit_test_setup_teardown(the_owner_of_the_data_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(each_version_of_landlock_gets_what_it_knows, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kernel_without_it_is_told_of, setup, teardown),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
