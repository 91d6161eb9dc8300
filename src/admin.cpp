// The command line. In this order: the table; preparing and concluding a write; the two ways to it (control socket, open database); commands that need neither.
#include "admin.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/unicode.h"
#include "chat/rules.h"
#include "control_client.h"
#include "options.h"
#include "version.h"
#include "words_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <initializer_list>

// --- the table

struct UserCommand {
    const char *word;
    bool takes_name, takes_password, takes_role;
    WriteKind kind;
    const char *help;
};

static const UserCommand user_commands[] = {
    {"add", true, true, true, WriteKind::user_add, "user add NAME [--role user|moderator|admin]   a new account; the password comes from standard input"},
    {"list", false, false, false, {}, "user list                                     name, role, state and when it was made"},
    {"password", true, true, false, WriteKind::user_password, "user password NAME                            a new password from standard input; all sessions end"},
    {"logout", true, false, false, WriteKind::session_end, "user logout NAME                              all sessions end, sockets closed"},
    {"role", true, false, true, WriteKind::user_role, "user role NAME user|moderator|admin"},
    {"block", true, false, false, WriteKind::user_block, "user block NAME                               refused at once, sockets closed"},
    {"unblock", true, false, false, WriteKind::user_block, "user unblock NAME                             welcome again, warnings back to 0"},
    {"delete", true, false, false, WriteKind::user_delete, "user delete NAME                              sessions and memberships end, messages stay"},
};

static const UserCommand *find_user_command(std::string_view word) {
    for (const UserCommand &c : user_commands)
        if (word == c.word) return &c;
    return nullptr;
}

int admin_help() {
    ScopedBuf options;
    options_help(&options);
    printf("chatterbox [serve] [options]                    serve the chat\n"
           "chatterbox COMMAND [--data DIR] [--] [arguments]\n\n"
           "Commands, on a running server too:\n");
    for (const UserCommand &c : user_commands) printf("  %s\n", c.help);
    printf("  backup FILE                                   a consistent copy of the database; to restore: stop, put it in place of chatterbox.db, start\n"
           "  check                                         is the whole database sound? If not: what is wrong, and what to do (then the status is 1)\n"
           "  stop-words [TEXT]                             the words in force, or whether they stop TEXT (then the status is 1)\n"
           "  version                                       of this program and of the libraries in it\n\n"
           "Options (also CHATTERBOX_NAME in the environment, and `name = value` in the --config file):\n%.*s",
           static_cast<int>(options.len), options.data);
    return 0;
}

// --- preparing and concluding

static bool parse_role(std::string_view text, Role *out) {
    if (text == "user") *out = Role::user;
    else if (text == "moderator") *out = Role::moderator;
    else if (text == "admin") *out = Role::admin;
    else return false;
    return true;
}

static const char *role_text(Role role) { return role == Role::admin ? "admin" : role == Role::moderator ? "moderator" : "user"; }

static StoreWrite *refuse(AdminAnswer *answer, int status, const char *sentence, std::string_view about = {}) {
    answer->status = status;
    buf_add(answer->error, sentence);
    buf_add(answer->error, about);
    return nullptr;
}

static int by_key(const void *a, const void *b) { return strcmp((*static_cast<User *const *>(a))->key, (*static_cast<User *const *>(b))->key); }

static void list_users(const Model *model, Buf *out) {
    auto **users = static_cast<User **>(mem_alloc((model->users_by_id.count + 1) * sizeof(User *)));
    uint32_t count = 0;
    IdMapEntry e;
    for (uint32_t i = 0; idmap_next(model->users_by_id, &i, &e);) users[count++] = static_cast<User *>(e.value);
    qsort(users, count, sizeof *users, by_key);
    for (uint32_t i = 0; i < count; i++) {
        const User *u = users[i];
        time_t at = static_cast<time_t>(u->created / 1000);
        struct tm day;
        gmtime_r(&at, &day);
        buf_printf(*out, "%-32s %-9s %-8s ", u->name, role_text(u->role), u->deleted ? "deleted" : u->blocked ? "blocked" : "active");
        if (clock_is_set()) buf_printf(*out, "%04d-%02d-%02d", day.tm_year + 1900, day.tm_mon + 1, day.tm_mday);
        else buf_add(*out, "unknown   ");
        buf_printf(*out, " warnings %u\n", u->warnings);
    }
    free(users);
}

static StoreWrite *new_write(WriteKind kind) {
    StoreWrite *w = store_write_new(kind);
    w->time = clock_wall_ms();
    return w;
}

static StoreWrite *prepare_add(const Model *model, const AdminCall &call, Role role, AdminAnswer *answer) {
    std::string_view name = call.words[2];
    ScopedBuf key;
    if (rules_username(name, &key) != Err::ok) return refuse(answer, 1, err_info(Err::bad_username).message);
    if (model_user_by_name(model, name)) return refuse(answer, 1, "that name is taken: ", name);
    StoreWrite *w = new_write(WriteKind::user_add);
    buf_clear(key);
    unicode_fold_key(name, key);
    w->name = arena_copy(w->arena, name);
    w->key = arena_copy(w->arena, buf_view(key));
    w->text = arena_copy(w->arena, call.password_hash);
    w->role = role;
    return w;
}

// Is the call well-formed, whatever is in the database? Null with the reason in *answer when not.
static const UserCommand *judge(const AdminCall &call, Role *role, AdminAnswer *answer) {
    const UserCommand *c = call.words_count >= 2 && call.words[0] == "user" ? find_user_command(call.words[1]) : nullptr;
    if (!c) {
        refuse(answer, 2, "there is no command user ", call.words_count >= 2 ? call.words[1] : "");
        buf_add(answer->error, "; chatterbox --help lists them");
        return nullptr;
    }
    bool role_as_word = c->kind == WriteKind::user_role;
    uint32_t words = 2 + (c->takes_name ? 1 : 0) + (role_as_word ? 1 : 0);
    std::string_view role_given = role_as_word && call.words_count > 3 ? call.words[3] : call.role;
    *role = Role::user;
    if (call.words_count != words) refuse(answer, 2, "usage: chatterbox ", c->help);
    else if (!role_given.empty() && !c->takes_role) refuse(answer, 2, "--role goes with user add");
    else if (!role_given.empty() && !parse_role(role_given, role)) refuse(answer, 2, "a role is user, moderator or admin, not ", role_given);
    return answer->status ? nullptr : c;
}

StoreWrite *admin_prepare(const Model *model, const AdminCall &call, AdminAnswer *answer) {
    Role role;
    const UserCommand *c = judge(call, &role, answer);
    if (!c) return nullptr;
    if (c->takes_password && call.password_hash.empty()) return refuse(answer, 2, "a password is needed on standard input");
    if (!c->takes_name) {
        list_users(model, &answer->out);
        return nullptr;
    }
    if (c->kind == WriteKind::user_add) return prepare_add(model, call, role, answer);
    const User *user = model_user_by_name(model, call.words[2]);
    if (!user || user->deleted) return refuse(answer, 1, "there is no user ", call.words[2]);
    StoreWrite *w = new_write(c->kind);
    w->user = user->id;
    w->name = arena_copy(w->arena, user->name);
    w->role = role;
    w->flag = strcmp(c->word, "block") == 0;
    w->text = arena_copy(w->arena, call.password_hash);
    return w;
}

void admin_conclude(const StoreWrite *w, AdminAnswer *answer) {
    auto name = static_cast<int>(w->name.size());
    if (w->err != Err::ok) {
        answer->status = 1;
        buf_printf(answer->error, "%.*s: %s", name, w->name.data(), err_info(w->err).message);
        return;
    }
    const char *done = "";
    switch (w->kind) {
    case WriteKind::user_add: done = "added"; break;
    case WriteKind::user_password: done = "has a new password; all sessions ended"; break;
    case WriteKind::user_block: done = w->flag ? "is blocked" : "is unblocked, with 0 warnings"; break;
    case WriteKind::session_end: done = "is logged out everywhere"; break;
    case WriteKind::user_delete: done = "is deleted"; break;
    default: buf_printf(answer->out, "%.*s is now %s\n", name, w->name.data(), role_text(w->role)); return;
    }
    buf_printf(answer->out, "%.*s %s\n", name, w->name.data(), done);
}

void admin_answer_free(AdminAnswer *answer) {
    buf_free(answer->out);
    buf_free(answer->error);
}

// --- a password from standard input, hashed here

// Up to the end of the line, which may be CR LF; whole, whatever is in it: what is too long for a password is longer than `room`, and refused as that.
static size_t read_line(char *line, size_t room) {
    size_t len = 0;
    for (int c; len < room && (c = getchar_unlocked()) != EOF && c != '\n';) line[len++] = static_cast<char>(c);
    return len > 0 && line[len - 1] == '\r' ? len - 1 : len;
}

// Reads one line. False with a line in *error.
static bool read_password(const Options *o, std::string_view name, char hash[password_hash_max], Buf *error) {
    if (isatty(STDIN_FILENO)) fprintf(stderr, "Password (it is shown as you type): ");
    char line[8 * 1024];
    ScopedBuf clean;
    setvbuf(stdin, nullptr, _IONBF, 0); // the library's buffer would keep it
    size_t len = read_line(line, sizeof line);
    if (len == 0) {
        buf_add(*error, "a password is needed on standard input");
        return false;
    }
    Err err = rules_password({line, len}, name);
    bool good = err == Err::ok && unicode_nfc({line, len}, clean);
    if (!good) buf_add(*error, err_info(Err::bad_password).message);
    else if (!password_hash(buf_view(clean), uint64_t{o->password_memory_mib} * 1024, o->password_ops, hash)) {
        buf_add(*error, "there is not enough memory to hash the password; lower --password-memory");
        good = false;
    }
    memory_wipe({line, sizeof line});
    memory_wipe(buf_view(clean));
    return good;
}

// --- the two ways

static void load_user(void *model, const UserRow &row, std::string_view key) { model_put_user(static_cast<Model *>(model), row, key); }
static void load_room(void *model, const RoomRow &row, std::string_view) { model_put_room(static_cast<Model *>(model), row); }
static void load_nothing(void *, const MemberRow &) {}
static void load_no_session(void *, const SessionRow &) {}

static void run_here(Store *store, const AdminCall &call, AdminAnswer *answer) {
    Model model = {};
    if (!store_load(store, {.owner = &model, .user = load_user, .room = load_room, .member = load_nothing, .session = load_no_session})) {
        refuse(answer, 1, "the database cannot be read");
    } else if (StoreWrite *w = admin_prepare(&model, call, answer)) {
        store_write_now(store, w);
        admin_conclude(w, answer);
        store_write_free(w);
    }
    model_free(&model);
}

static void back_up(const char *dir, std::string_view path, AdminAnswer *answer) {
    char file[1024];
    ScopedBuf error;
    snprintf(file, sizeof file, "%.*s", static_cast<int>(path.size()), path.data());
    if (!store_backup(dir, file, &error)) refuse(answer, 1, "", buf_view(error));
    else buf_printf(answer->out, "backed up to %s\n", file);
}

// A confined server may not write where FILE is: this process makes the copy, and the server only knows of it.
static void back_up_beside(const char *dir, std::string_view path, AdminAnswer *answer) {
    int hold = control_hold(dir);
    back_up(dir, path, answer);
    if (hold >= 0) close(hold);
}

static int print(AdminAnswer *answer) {
    if (answer->out.len) fwrite(answer->out.data, 1, answer->out.len, stdout);
    if (answer->error.len) fprintf(stderr, "chatterbox: %.*s\n", static_cast<int>(answer->error.len), answer->error.data);
    int status = answer->status;
    admin_answer_free(answer);
    return status;
}

// Whom root becomes for it: --user, or else whose the folder and the database are, if that one gets there.
static UserIds owner_of(const Options *o, const char *database) {
    struct stat file, folder;
    if (o->user.uid || geteuid() != 0 || stat(database, &file) != 0 || stat(o->data, &folder) != 0) return o->user;
    if (file.st_uid == 0 || file.st_gid == 0 || folder.st_uid != file.st_uid) return o->user;
    bool gets_there = setegid(file.st_gid) == 0 && seteuid(file.st_uid) == 0 && faccessat(AT_FDCWD, database, R_OK | W_OK, AT_EACCESS) == 0;
    bool is_root = seteuid(0) == 0 && setegid(0) == 0;
    return gets_there && is_root ? UserIds{file.st_uid, file.st_gid} : o->user;
}

// The server that holds the lock may be starting or stopping: then its control socket is not there, and a moment later one of the two ways is open.
static void run(const Options *o, const AdminCall &call, AdminAnswer *answer) {
    ScopedBuf database;
    buf_printf(database, "%s/chatterbox.db", o->data);
    buf_add_char(database, '\0');
    // Only `user add` makes a data directory: it is how one begins without a page. Everything else would look at an empty one and say so at length.
    bool begins = call.words_count > 1 && call.words[1] == "add";
    if (!begins && access(database.data, F_OK) != 0) {
        bool is_missing = errno == ENOENT || errno == ENOTDIR;
        refuse(answer, 1, is_missing ? "there is no database in " : "the database cannot be reached: ", o->data);
        if (!is_missing) buf_printf(answer->error, " (%s)", strerror(errno));
        return;
    }
    for (int attempt = 0; attempt < 20; attempt++) {
        // Somebody may have removed the lock of a server that runs.
        if (store_is_locked(o->data) || control_answers(o->data)) {
            if (call.words[0] == "backup") return back_up_beside(o->data, call.words[1], answer);
            if (control_ask(o->data, call, answer)) return;
        } else {
            ScopedBuf error;
            // Files that root makes here would be out of the server's reach. A backup is written where root says.
            bool good = call.words[0] == "backup" || sandbox_become(owner_of(o, database.data), o->data, &error);
            Store *store = !good ? nullptr : store_open({.dir = o->data, .durability = o->durability}, nullptr, nullptr, &error);
            if (store) {
                if (call.words[0] == "backup") back_up(o->data, call.words[1], answer);
                else run_here(store, call, answer);
                store_close(store);
                return;
            }
            if (!store_is_locked(o->data)) {
                refuse(answer, 1, "", buf_view(error));
                return;
            }
        }
        usleep(100'000);
    }
    refuse(answer, 1, "a server holds the data directory but does not answer on its control socket: ", o->data);
}

// --- the rest

static int fail(int status, const char *sentence) {
    fprintf(stderr, "chatterbox: %s\n", sentence);
    return status;
}

static int fail_about(int status, const char *sentence, const char *about, const char *rest) {
    fprintf(stderr, "chatterbox: %s%s%s\n", sentence, about, rest);
    return status;
}

static bool is_command(const char *word) {
    for (const char *known : {"user", "backup", "check", "stop-words", "version"})
        if (strcmp(word, known) == 0) return true;
    return false;
}

static int stop_words(const Options *o, int argc, char **argv) {
    ScopedBuf text, error;
    AdminCall call = {.words = {"stop-words", argc > 0 ? argv[0] : ""}, .words_count = argc > 0 ? 2u : 1u, .role = {}, .password_hash = {}};
    AdminAnswer answer;
    if (!o->stop_words[0] && store_is_locked(o->data)) { // a server's are those that it has read
        if (control_ask(o->data, call, &answer)) return print(&answer);
        return fail_about(1, "a server holds the data directory but does not answer on its control socket: ", o->data, "");
    }
    Words *words = words_file_read(o->stop_words, &error);
    if (!words || !words_file_text(o->stop_words, &text, &error)) {
        words_free(words);
        fprintf(stderr, "chatterbox: %.*s\n", static_cast<int>(error.len), error.data);
        return 2;
    }
    bool stopped = argc > 0 && words_match(words, argv[0]);
    words_free(words);
    if (argc == 0) fwrite(text.data, 1, text.len, stdout);
    else puts(stopped ? "stopped" : "let through");
    return stopped ? 1 : 0;
}

// Reads only, beside a server too.
static int check(const Options *o) {
    ScopedBuf path, report, summary;
    buf_printf(path, "%s/chatterbox.db", o->data);
    buf_add_char(path, '\0');
    struct stat st;
    if (access(path.data, R_OK) != 0 || stat(path.data, &st) != 0) return fail_about(1, errno == ENOENT ? "there is no database in " : "the database cannot be read: ", o->data, "");
    if (st.st_size == 0) return fail_about(1, "the database is empty, as a start that came to nothing leaves it; the next one makes it: ", path.data, "");
    bool is_served = store_is_locked(o->data);
    Soundness soundness = store_check_folder(o->data, &report, &summary);
    if (soundness == Soundness::sound) {
        printf("%s is sound: %.*s%s\n", path.data, static_cast<int>(summary.len), summary.data, is_served ? " (a server is running on it)" : "");
        return 0;
    }
    if (soundness == Soundness::unknown) {
        fprintf(stderr, "chatterbox: %s could not be looked at: %.*s\n", path.data, static_cast<int>(report.len), report.data);
        return 1;
    }
    fwrite(report.data, 1, report.len, stdout);
    fprintf(stderr, "chatterbox: %s is not sound. Stop the server, copy the whole folder to a safe place, put the newest backup in the place of\n"
                    "chatterbox.db (a copy made before an upgrade is called chatterbox.db.before-N) and start. Without one, `sqlite3 chatterbox.db .recover`\n"
                    "saves what can be read. A disk that did this once will do it again.\n", path.data);
    return 1;
}

static int version() {
    printf("ChatterBox %s\n%s\n", CB_VERSION, CB_LIBRARIES);
    return 0;
}

// Takes --role VALUE out of the arguments, before `--`. Null, or the argument that is no good.
static const char *take_role(int *argc, char **argv, std::string_view *role) {
    int kept = 0;
    bool literal = false;
    for (int i = 0; i < *argc; i++) {
        if (!literal && strcmp(argv[i], "--") == 0) {
            literal = true;
        } else if (!literal && strcmp(argv[i], "--role") == 0) {
            if (i + 1 == *argc || !argv[i + 1][0]) return argv[i];
            *role = argv[++i];
        } else if (!literal && strncmp(argv[i], "--role=", 7) == 0 && argv[i][7]) {
            *role = argv[i] + 7;
        } else if (!literal && argv[i][0] == '-' && argv[i][1]) {
            return argv[i];
        } else {
            argv[kept++] = argv[i];
        }
    }
    *argc = kept;
    return nullptr;
}

// Is each of them text? What is asked of a server goes there as JSON, and no name has other bytes.
static bool all_utf8(int argc, char **argv) {
    for (int i = 0; i < argc; i++)
        if (!utf8_valid(argv[i])) return false;
    return true;
}

int admin_run(int argc, char **argv) {
    static Options o;
    ScopedBuf error;
    AdminCall call = {};
    if (!options_take(&argc, argv, &o, &error)) {
        fprintf(stderr, "chatterbox: %.*s\n", static_cast<int>(error.len), error.data);
        return 2;
    }
    if (o.help || strcmp(argv[0], "help") == 0) return admin_help();
    if (!is_command(argv[0])) return fail_about(2, "there is no command ", argv[0], "; chatterbox --help lists them");
    if (const char *wrong = take_role(&argc, argv, &call.role)) {
        if (strncmp(wrong, "--role", 6) == 0) return fail_about(2, "a role is missing behind ", wrong, ": user, moderator or admin");
        return fail_about(2, "this command has no option ", wrong, " (chatterbox --help lists them; what only looks like one goes behind --)");
    }
    if (!call.role.empty() && strcmp(argv[0], "user") != 0) return fail(2, "--role goes with user add");
    if (strcmp(argv[0], "backup") != 0 && !all_utf8(argc, argv)) return fail(2, "an argument is not UTF-8");
    if (strcmp(argv[0], "version") == 0) return argc > 1 ? fail(2, "usage: chatterbox version") : version();
    if (strcmp(argv[0], "check") == 0) return argc > 1 ? fail(2, "usage: chatterbox check [--data DIR]") : check(&o);
    if (strcmp(argv[0], "stop-words") == 0) return argc > 2 ? fail(2, "usage: chatterbox stop-words [TEXT]") : stop_words(&o, argc - 1, argv + 1);
    if (argc > static_cast<int>(admin_words_max)) return fail(2, "there are too many arguments");
    for (int i = 0; i < argc; i++) call.words[call.words_count++] = argv[i];

    AdminAnswer answer;
    char hash[password_hash_max];
    if (strcmp(argv[0], "backup") == 0) {
        if (argc != 2) return fail(2, "usage: chatterbox backup FILE");
        run(&o, call, &answer);
        return print(&answer);
    }
    Role role;
    const UserCommand *c = judge(call, &role, &answer);
    if (!c) return print(&answer);
    if (c->takes_password) {
        if (!read_password(&o, argv[2], hash, &error)) {
            fprintf(stderr, "chatterbox: %.*s\n", static_cast<int>(error.len), error.data);
            return 1;
        }
        call.password_hash = hash;
    }
    run(&o, call, &answer);
    return print(&answer);
}
