// The command line's end of the control socket.
#include "control_client.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

constexpr size_t answer_bytes_max = 64 * 1024 * 1024; // a list of very many users
constexpr int answer_s_max = 60;                      // a write that waits for a slow card, behind many others

static int connect_to(const char *dir) {
    struct sockaddr_un to = {};
    to.sun_family = AF_UNIX;
    if (static_cast<size_t>(snprintf(to.sun_path, sizeof to.sun_path, "%s/control", dir)) >= sizeof to.sun_path) return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = answer_s_max, .tv_usec = 0};
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
        connect(fd, reinterpret_cast<struct sockaddr *>(&to), sizeof to) == 0)
        return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static bool exchange(int fd, const Buf &question, Buf *reply) {
    for (size_t sent = 0; sent < question.len;) {
        ssize_t n = ::send(fd, question.data + sent, question.len - sent, MSG_NOSIGNAL);
        if (n <= 0) break; // it may have answered already
        sent += static_cast<size_t>(n);
    }
    for (;;) {
        buf_reserve(*reply, 16 * 1024);
        ssize_t n = recv(fd, reply->data + reply->len, 16 * 1024, 0);
        if (n <= 0) return reply->len > 0; // it may have closed with our question unread; whether the answer is whole its form tells
        reply->len += static_cast<size_t>(n);
        if (reply->len > answer_bytes_max) return false;
    }
}

bool control_answers(const char *data_dir) {
    int fd = connect_to(data_dir);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

int control_hold(const char *data_dir) {
    static const char question[] = "{\"words\":[\"backup\"],\"role\":\"\",\"hash\":\"\"}\n";
    int fd = connect_to(data_dir);
    if (fd >= 0) (void)!::send(fd, question, sizeof question - 1, MSG_NOSIGNAL);
    return fd;
}

bool control_ask(const char *data_dir, const AdminCall &call, AdminAnswer *answer) {
    int fd = connect_to(data_dir);
    if (fd < 0) return false;
    ScopedBuf question, reply;
    JsonWriter w{.out = &question};
    json_begin(w, '{');
    json_key(w, "words");
    json_begin(w, '[');
    for (uint32_t i = 0; i < call.words_count; i++) json_put_string(w, call.words[i]);
    json_end(w, ']');
    json_field(w, "role", call.role);
    json_field(w, "hash", call.password_hash);
    json_end(w, '}');
    buf_add_char(question, '\n');
    bool good = exchange(fd, question, &reply);
    close(fd);
    int64_t status;
    std::string_view out, error;
    JsonRef root = good ? json_parse(buf_view(reply)) : JsonRef{};
    if (!json_int(json_get(root, "status"), &status) || !json_string(json_get(root, "out"), &out) || !json_string(json_get(root, "error"), &error)) {
        answer->status = 1;
        buf_add(answer->error, "the server broke off; what was asked may have been done or not");
        return true;
    }
    answer->status = static_cast<int>(status);
    buf_add(answer->out, out);
    buf_add(answer->error, error);
    return true;
}
