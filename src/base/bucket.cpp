// Token buckets. A refusal changes nothing, so asking often neither costs tokens nor loses fractions of one to rounding.
#include "base/bucket.h"

namespace {

// A float near a million has steps of a sixteenth; tokens are whole, so this much grace costs nothing and keeps
// "wait so long and it will be there" true.
constexpr double grace = 0.001;
constexpr uint32_t burst_max = 1'000'000;

bool digit(char c) { return c >= '0' && c <= '9'; }

} // namespace

uint32_t bucket_take(Bucket &b, const Rate &rate, uint64_t now_ms, float cost) {
    if (rate.burst == 0) return 0;
    double wanted = cost < (float)rate.burst ? cost : (float)rate.burst; // more than all there can be takes all
    double level = rate.burst;
    if (b.at_ms != 0) {
        uint64_t passed_ms = now_ms > b.at_ms ? now_ms - b.at_ms : 0;
        double filled = (double)b.level + (double)passed_ms * rate.per_second / 1000;
        if (filled < level) level = filled;
    }
    if (level + grace >= wanted) {
        b.level = (float)(level > wanted ? level - wanted : 0);
        b.at_ms = now_ms == 0 ? 1 : now_ms;
        return 0;
    }
    double wait_ms = rate.per_second > 0 ? (wanted - level) / rate.per_second * 1000 + 1 : 4e9;
    return wait_ms < 4e9 ? (uint32_t)wait_ms : 4'000'000'000u;
}

bool rate_parse(const char *text, Rate *out) {
    if (text[0] == 'o' && text[1] == 'f' && text[2] == 'f' && text[3] == 0) {
        *out = Rate{};
        return true;
    }
    uint32_t burst = 0;
    if (!digit(*text)) return false;
    for (; digit(*text); text++) {
        burst = burst * 10 + (uint32_t)(*text - '0');
        if (burst > burst_max) return false;
    }
    if (burst == 0 || *text++ != '/') return false;
    double per_second = 0, place = 1;
    if (!digit(*text)) return false;
    for (; digit(*text); text++) {
        per_second = per_second * 10 + (*text - '0');
        if (per_second > burst_max) return false;
    }
    if (*text == '.') {
        if (!digit(*++text)) return false;
        for (int digits = 0; digit(*text); text++, digits++) {
            if (digits == 9) return false;
            per_second += (place /= 10) * (*text - '0');
        }
    }
    if (*text != 0 || per_second <= 0) return false;
    *out = Rate{burst, per_second};
    return true;
}
