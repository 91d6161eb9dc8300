// What build/tests/chatterbox-faults has in front of the C library: the same server, in which the n-th allocation, write, fsync, accept … fails on
// demand (the linker's --wrap, and objcopy for other people's archives), the disk is as small as a file says, and every change of the data directory
// and everything sent to a client can be written down in the order in which it happened (for power-cut.cpp). Any thread. Environment:
//   FAULT=KIND:N      the N-th call of that kind fails; KIND:N+M: M calls from the N-th on; KIND:N+: all from there on, while $FAULT_HEAL does not exist
//   FAULT_CODE=C      what a failing sqlite3_step gives (10, an I/O error), or the errno of a failing read, write, fsync or open (EIO)
//   FAULT_LATE=1      a failing sqlite3_step does its work, and says then that it failed
//   FAULT_DISK=FILE   the files of the database may take so many bytes as FILE says at that moment
//   FAULT_TRACE=FILE  the record
// The first fault prints `fault: KIND N` on standard error; the end of the process prints how many calls of each kind there were.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <sqlite3.h>

// --- which call fails

#define KINDS(X) X(alloc) X(lib) X(sqlite) X(step) X(read) X(write) X(sync) X(open) X(accept) X(thread) X(hash) X(room) X(commit)
enum class Kind {
#define X(name) name,
    KINDS(X)
#undef X
    count
};
static const char *const kind_names[] = {
#define X(name) #name,
    KINDS(X)
#undef X
};
constexpr int kinds_count = (int)Kind::count;

static struct {
    int kind_after; // 1 + the kind, so that zeros are no plan
    unsigned long first, last;
    int code;
    const char *heal;
    bool is_late;
} plan;
static unsigned long seen[kinds_count], hits;

extern "C" ssize_t __real_write(int fd, const void *bytes, size_t length);
static void say(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length > 0) [[maybe_unused]] ssize_t written = __real_write(2, line, (size_t)length);
}

__attribute__((constructor)) static void plan_read() {
    const char *text = getenv("FAULT");
    plan.heal = getenv("FAULT_HEAL");
    plan.is_late = getenv("FAULT_LATE") != nullptr;
    if (const char *code = getenv("FAULT_CODE")) plan.code = atoi(code);
    if (!text) return;
    for (int i = 0; i < kinds_count; i++) {
        size_t length = strlen(kind_names[i]);
        if (strncmp(text, kind_names[i], length) != 0 || text[length] != ':') continue;
        char *end;
        plan.kind_after = i + 1;
        plan.first = plan.last = strtoul(text + length + 1, &end, 10);
        if (*end == '+') plan.last = end[1] ? plan.first + strtoul(end + 1, nullptr, 10) - 1 : ~0ul;
        return;
    }
    say("fault: there is no kind %s\n", text);
    _exit(99);
}

__attribute__((destructor)) static void counts_print() {
    if (!getenv("FAULT_COUNT")) return;
    char line[400];
    int length = 0;
    for (int i = 0; i < kinds_count; i++) length += snprintf(line + length, sizeof line - (size_t)length, " %s %lu", kind_names[i], seen[i]);
    say("fault: seen%s\n", line);
}

static bool fails(Kind kind) {
    unsigned long n = __atomic_add_fetch(&seen[(int)kind], 1, __ATOMIC_RELAXED);
    if (plan.kind_after != (int)kind + 1 || n < plan.first || n > plan.last) return false;
    if (plan.heal && access(plan.heal, F_OK) == 0) return false;
    if (__atomic_fetch_add(&hits, 1, __ATOMIC_RELAXED) == 0) say("fault: %s %lu\n", kind_names[(int)kind], n);
    return true;
}

static int code_or(int otherwise) { return plan.code ? plan.code : otherwise; }

extern "C" {

// --- memory: ours, other people's, SQLite's, and what Argon2id works in

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);

static void *no_memory() {
    errno = ENOMEM;
    return nullptr;
}
void *__wrap_malloc(size_t bytes) { return fails(Kind::alloc) ? no_memory() : __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t bytes) { return fails(Kind::alloc) ? no_memory() : __real_calloc(count, bytes); }
void *__wrap_realloc(void *old, size_t bytes) { return fails(Kind::alloc) ? no_memory() : __real_realloc(old, bytes); }
void *fault_lib_malloc(size_t bytes) { return fails(Kind::lib) ? no_memory() : __real_malloc(bytes); }
void *fault_lib_calloc(size_t count, size_t bytes) { return fails(Kind::lib) ? no_memory() : __real_calloc(count, bytes); }
void *fault_lib_realloc(void *old, size_t bytes) { return fails(Kind::lib) ? no_memory() : __real_realloc(old, bytes); }

void *fault_hash_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
    if (!fails(Kind::hash)) return mmap(at, bytes, protection, flags, fd, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}

static sqlite3_mem_methods sqlite_memory;
static void *sqlite_take(int bytes) { return fails(Kind::sqlite) ? nullptr : sqlite_memory.xMalloc(bytes); }
static void *sqlite_retake(void *old, int bytes) { return fails(Kind::sqlite) ? nullptr : sqlite_memory.xRealloc(old, bytes); }

int __real_sqlite3_initialize();
int __wrap_sqlite3_initialize() {
    // After db_start has configured everything and before the first block is given.
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory);
    sqlite3_mem_methods ours = sqlite_memory;
    ours.xMalloc = sqlite_take;
    ours.xRealloc = sqlite_retake;
    if (sqlite_memory.xMalloc) sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
    return __real_sqlite3_initialize();
}

int __real_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement) {
    const char *sql = sqlite3_sql(statement);
    bool fails_now = fails(Kind::step);
    if (sql && strcmp(sql, "COMMIT") == 0 && fails(Kind::commit)) fails_now = true;
    if (!fails_now) return __real_sqlite3_step(statement);
    if (plan.is_late) __real_sqlite3_step(statement);
    return code_or(SQLITE_IOERR);
}

// --- threads, connections

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *traits, void *(*run)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *traits, void *(*run)(void *), void *argument) {
    return fails(Kind::thread) ? EAGAIN : __real_pthread_create(thread, traits, run, argument);
}

int __real_accept4(int fd, sockaddr *address, socklen_t *length, int flags);
int __wrap_accept4(int fd, sockaddr *address, socklen_t *length, int flags) {
    if (!fails(Kind::accept)) return __real_accept4(fd, address, length, flags);
    errno = code_or(EMFILE);
    return -1;
}

// --- the files of the database: who is open under which name, how large they are together, and the record of what happens to them

ssize_t __real_writev(int fd, const struct iovec *parts, int count);
int __real_open64(const char *path, int flags, mode_t mode);

constexpr int files_max = 64, fds_max = 4096;
static struct {
    char name[64];
    off_t size;
    unsigned lost; // syncs that failed
} files[files_max];
static unsigned lost_seen[fds_max]; // of those, told to this descriptor
static short file_of_fd[fds_max]; // index + 1; 0: none of ours; -1: the folder
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int trace_fd = -1;

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
static bool is_ours(const char *path) {
    const char *name = base_name(path);
    return strncmp(name, "chatterbox.db", 13) == 0 || strncmp(name, "reserve", 7) == 0;
}

static void record(char type, const char *name, uint64_t offset, const void *bytes, uint64_t length) {
    static bool tried;
    if (!tried) {
        tried = true;
        if (const char *path = getenv("FAULT_TRACE")) trace_fd = __real_open64(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    if (trace_fd < 0) return;
    struct {
        uint64_t type, offset, length;
        char name[64];
    } head = {(uint64_t)type, offset, length, ""};
    strncpy(head.name, name, sizeof head.name - 1);
    struct iovec parts[2] = {{&head, sizeof head}, {const_cast<void *>(bytes), bytes ? length : 0}};
    if (__real_writev(trace_fd, parts, 2) < 0) _exit(98);
}

static int file_find(const char *path) {
    const char *name = base_name(path);
    int spare = -1;
    for (int i = 0; i < files_max; i++) {
        if (strcmp(files[i].name, name) == 0) return i;
        if (!files[i].name[0] && spare < 0) spare = i;
    }
    if (spare < 0) _exit(97);
    snprintf(files[spare].name, sizeof files[spare].name, "%s", name);
    files[spare].size = 0;
    return spare;
}

static bool has_room(int file, off_t size) {
    const char *path = getenv("FAULT_DISK");
    if (!path || size <= files[file].size) return true;
    char text[32] = "";
    int fd = __real_open64(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return true;
    ssize_t length = pread(fd, text, sizeof text - 1, 0);
    close(fd);
    off_t sum = 0;
    for (int i = 0; i < files_max; i++) sum += ((i == file ? size : files[i].size) + 4095) & ~off_t{4095};
    return length <= 0 || sum <= atoll(text);
}

static int file_open(const char *path, int flags, mode_t mode) {
    if (!is_ours(path)) {
        int fd = __real_open64(path, flags, mode);
        struct stat st;
        if (fd >= 0 && fd < fds_max) file_of_fd[fd] = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ? -1 : 0;
        return fd;
    }
    if (fails(Kind::open)) return errno = code_or(EMFILE), -1;
    pthread_mutex_lock(&lock);
    bool was_there = access(path, F_OK) == 0;
    int fd = __real_open64(path, flags, mode);
    if (fd >= 0 && fd < fds_max) {
        int file = file_find(path);
        struct stat st;
        if (fstat(fd, &st) == 0) files[file].size = st.st_size;
        file_of_fd[fd] = (short)(file + 1);
        lost_seen[fd] = files[file].lost;
        if (!was_there) record('C', files[file].name, 0, nullptr, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}
int __wrap_open64(const char *path, int flags, mode_t mode) { return file_open(path, flags, mode); }
int __wrap_open(const char *path, int flags, mode_t mode) { return file_open(path, flags, mode); }

static int file_at(int fd) { return fd >= 0 && fd < fds_max ? file_of_fd[fd] : 0; }

int __real_close(int fd);
int __wrap_close(int fd) {
    if (fd >= 0 && fd < fds_max) file_of_fd[fd] = 0;
    return __real_close(fd);
}

ssize_t __real_read(int fd, void *bytes, size_t length);
ssize_t __wrap_read(int fd, void *bytes, size_t length) {
    if (file_at(fd) > 0 && fails(Kind::read)) return errno = code_or(EIO), -1;
    return __real_read(fd, bytes, length);
}

ssize_t __real_pread64(int fd, void *bytes, size_t length, off_t offset);
ssize_t __wrap_pread64(int fd, void *bytes, size_t length, off_t offset) {
    if (file_at(fd) > 0 && fails(Kind::read)) return errno = code_or(EIO), -1;
    return __real_pread64(fd, bytes, length, offset);
}

ssize_t __real_pwrite64(int fd, const void *bytes, size_t length, off_t offset);
static ssize_t file_write(int fd, const void *bytes, size_t length, off_t offset, bool moves) {
    int file = file_at(fd) - 1;
    if (fails(Kind::write)) return errno = code_or(EIO), -1;
    pthread_mutex_lock(&lock);
    ssize_t written;
    if (!has_room(file, offset + (off_t)length)) {
        errno = ENOSPC;
        written = -1;
    } else {
        written = moves ? __real_write(fd, bytes, length) : __real_pwrite64(fd, bytes, length, offset);
        if (written > 0) {
            if (offset + written > files[file].size) files[file].size = offset + written;
            record('W', files[file].name, (uint64_t)offset, bytes, (uint64_t)written);
        }
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return written;
}

static bool is_socket(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

// What is going to be sent: written down before it is, so that nobody knows anything that is not in the record yet.
static void record_sent(int fd, const struct iovec *parts, size_t count) {
    if (!getenv("FAULT_TRACE") || !is_socket(fd)) return;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count; i++) record('N', "", (uint64_t)fd, parts[i].iov_base, parts[i].iov_len);
    pthread_mutex_unlock(&lock);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t length) {
    if (file_at(fd) > 0) return file_write(fd, bytes, length, lseek(fd, 0, SEEK_CUR), true);
    struct iovec part = {const_cast<void *>(bytes), length};
    record_sent(fd, &part, 1);
    return __real_write(fd, bytes, length);
}
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    return file_at(fd) > 0 ? file_write(fd, bytes, length, offset, false) : __real_pwrite64(fd, bytes, length, offset);
}
ssize_t __real_writev(int fd, const struct iovec *parts, int count);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count) {
    record_sent(fd, parts, (size_t)count);
    return __real_writev(fd, parts, count);
}
ssize_t __real_send(int fd, const void *bytes, size_t length, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags) {
    struct iovec part = {const_cast<void *>(bytes), length};
    record_sent(fd, &part, 1);
    return __real_send(fd, bytes, length, flags);
}
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
    record_sent(fd, message->msg_iov, message->msg_iovlen);
    return __real_sendmsg(fd, message, flags);
}

int __real_ftruncate64(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size) {
    int file = file_at(fd) - 1;
    if (file < 0) return __real_ftruncate64(fd, size);
    if (fails(Kind::write)) return errno = code_or(EIO), -1;
    pthread_mutex_lock(&lock);
    int failed = !has_room(file, size) ? (errno = ENOSPC, -1) : __real_ftruncate64(fd, size);
    if (!failed) {
        files[file].size = size;
        record('T', files[file].name, (uint64_t)size, nullptr, 0);
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return failed;
}

int __real_fallocate64(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length) {
    int file = file_at(fd) - 1;
    if (file < 0) return __real_fallocate64(fd, mode, offset, length);
    if (fails(Kind::room)) return errno = code_or(EOPNOTSUPP), -1;
    pthread_mutex_lock(&lock);
    int failed = has_room(file, offset + length) ? __real_fallocate64(fd, mode, offset, length) : (errno = ENOSPC, -1);
    if (!failed && offset + length > files[file].size) {
        files[file].size = offset + length;
        record('T', files[file].name, (uint64_t)files[file].size, nullptr, 0);
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return failed;
}

// As Linux does it: what a failed sync should have written counts as written and is shown to everybody, but is not on the disk, and every descriptor of the
// file is told of it once, at its next sync.
static int file_sync(int fd, int (*real)(int)) {
    int file = file_at(fd);
    if (file == 0) return real(fd);
    bool fails_now = fails(Kind::sync);
    if (fails_now && file < 0) return errno = code_or(EIO), -1;
    pthread_mutex_lock(&lock);
    int failed = fails_now ? -1 : real(fd);
    if (fails_now) files[file - 1].lost++;
    if (fails_now || !failed) record(fails_now ? 'F' : file < 0 ? 'Y' : 'S', file < 0 ? "" : files[file - 1].name, 0, nullptr, 0);
    if (file > 0 && lost_seen[fd] != files[file - 1].lost) {
        lost_seen[fd] = files[file - 1].lost;
        failed = -1;
        errno = code_or(EIO);
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return failed;
}
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fsync(int fd) { return file_sync(fd, __real_fsync); }
int __wrap_fdatasync(int fd) { return file_sync(fd, __real_fdatasync); }

int __real_unlink(const char *path);
int __wrap_unlink(const char *path) {
    if (!is_ours(path)) return __real_unlink(path);
    pthread_mutex_lock(&lock);
    int failed = __real_unlink(path);
    if (!failed) {
        int file = file_find(path);
        record('D', files[file].name, 0, nullptr, 0);
        files[file].size = 0;
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return failed;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to) {
    if (!is_ours(from) && !is_ours(to)) return __real_rename(from, to);
    pthread_mutex_lock(&lock);
    int failed = __real_rename(from, to);
    if (!failed) {
        int a = file_find(from), b = file_find(to);
        record('R', files[a].name, 0, files[b].name, strlen(files[b].name));
        files[b].size = files[a].size;
        files[a].size = 0;
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return failed;
}

} // extern "C"
