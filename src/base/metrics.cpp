// The counters of metrics.h and their exposition. Loop thread.
#include "base/metrics.h"

uint64_t metrics[(int)Metric::count];

namespace {

struct MetricRow {
    const char *name, *kind, *help;
};

constexpr MetricRow rows[] = {
#define X(name, kind, help) {#name, kind, help},
    CB_METRICS(X)
#undef X
};
static_assert(sizeof rows / sizeof rows[0] == (size_t)Metric::count);

} // namespace

void metrics_print(Buf &out) {
    for (size_t i = 0; i < (size_t)Metric::count; i++) {
        const MetricRow &row = rows[i];
        buf_printf(out, "# HELP chatterbox_%s %s\n# TYPE chatterbox_%s %s\nchatterbox_%s ", row.name, row.help, row.name, row.kind, row.name);
        buf_add_uint(out, metrics[i]);
        buf_add_char(out, '\n');
    }
}
