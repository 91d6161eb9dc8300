// The table of errors: what clients match on must be unique, well-formed and stay as PROTOCOL has it.
#include "unit.h"

#include "base/errors.h"

static void knows_the_protocols_codes(void **) {
    static const struct {
        Err err;
        const char *code;
        int http;
    } rows[] = {
        {Err::ok, "ok", 200},
        {Err::bad_json, "bad_json", 400},
        {Err::unauthorized, "unauthorized", 401},
        {Err::bad_credentials, "bad_credentials", 401},
        {Err::blocked, "blocked", 403},
        {Err::not_found, "not_found", 404},
        {Err::name_taken, "name_taken", 409},
        {Err::not_matched, "not_matched", 412},
        {Err::too_large, "too_large", 413},
        {Err::bad_host, "bad_host", 421},
        {Err::stop_word, "stop_word", 422},
        {Err::rate_limited, "rate_limited", 429},
        {Err::bad_method_unknown, "not_implemented", 501},
        {Err::unavailable, "unavailable", 503},
        {Err::storage_full, "storage_full", 507},
    };
    for (auto &row : rows) {
        const ErrInfo &info = err_info(row.err);
        check_text(info.code, row.code, row.code);
        check(info.http == row.http, "%s: got %d", row.code, info.http);
    }
}

static void is_well_formed(void **) {
    int count = (int)Err::storage_full + 1;
    for (int i = 1; i < count; i++) {
        const ErrInfo &info = err_info((Err)i);
        check(strspn(info.code, "abcdefghijklmnopqrstuvwxyz_") == strlen(info.code), "%s is no code", info.code);
        check(info.http >= 400 && info.http < 600, "%s has status %d", info.code, info.http);
        check(strlen(info.message) > 10 && info.message[strlen(info.message) - 1] == '.', "%s: no sentence", info.code);
        check(strpbrk(info.message, "\"\\\n") == nullptr, "%s: its sentence needs escaping", info.code);
        for (int j = 0; j < i; j++) check(strcmp(info.code, err_info((Err)j).code) != 0, "%s is there twice", info.code);
    }
}

int main() {
    const struct CMUnitTest tests[] = {cmocka_unit_test(knows_the_protocols_codes), cmocka_unit_test(is_well_formed)};
    return cmocka_run_group_tests_name("errors", tests, nullptr, nullptr);
}
