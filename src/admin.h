// The command line beside `serve`: user add|list|password|role|block|unblock|delete, backup, check, stop-words, version (PROTOCOL §5). There is one writer: where a server runs on the
// data directory, a command goes through its control socket and takes effect at once; else it opens the database itself. Either way the same table of commands serves it.
#pragma once

#include "chat/hub.h"

// argv[0] is the command. Returns the exit status: 0, 1 (it failed; one line on standard error), 2 (bad usage).
int admin_run(int argc, char **argv);
int admin_help();

// --- the part that both ways share

constexpr uint32_t admin_words_max = 8;

struct AdminCall {
    std::string_view words[admin_words_max]; // "user", "add", "bob"
    uint32_t words_count;
    std::string_view role;                   // --role, "" when not given
    std::string_view password_hash;          // made by the command's own process, so that no server waits for it; "" when not given
};

struct AdminAnswer {
    int status = 0;
    Buf out, error;                          // for standard output and standard error
};

// Judges a call against what is in memory. Returns the write that it needs, or null when there is nothing to write (then *answer is complete: a list, or what is wrong).
StoreWrite *admin_prepare(const Model *model, const AdminCall &call, AdminAnswer *answer);
// Says how the write went.
void admin_conclude(const StoreWrite *w, AdminAnswer *answer);
void admin_answer_free(AdminAnswer *answer);
