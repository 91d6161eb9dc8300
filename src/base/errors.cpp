// The table of errors.h as data. Read-only, so any thread.
#include "base/errors.h"

namespace {

constexpr ErrInfo rows[] = {
    {"ok", 200, ""},
#define X(name, code, http, message) {code, http, message},
    CB_ERRORS(X)
#undef X
};

} // namespace

const ErrInfo &err_info(Err err) { return rows[(int)err]; }
