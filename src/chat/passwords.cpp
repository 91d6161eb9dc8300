// Which passwords are common. The table holds the hashes of words, made by tools/passwords from Debian's copy of a list of the 20,000 that leaked most often and from
// the few words of passwords.txt; a rule then finds those words with digits for letters and with signs before and behind, so that 15 KB stand for tens of thousands.
#include "chat/passwords.h"

#include <stdint.h>
#include <string.h>

#include "common_passwords.h"

namespace {

// Ways over the keyboard, and through the alphabet; forwards and backwards.
constexpr const char walks[] = "1234567890 abcdefghijklmnopqrstuvwxyz qwertyuiop asdfghjkl zxcvbnm qwertzuiop yxcvbnm azertyuiop qsdfghjklm wxcvbn "
                               "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p zaq1xsw2cde3vfr4bgt5nhy6mju7 1q2w3e4r5t6y7u8i9o0p q1w2e3r4t5y6u7i8o9p0 147258369 159753 741852963 789456123 "
                               "123654789 qazwsxedcrfvtgbyhnujm 0123456789 11223344556677889900 13579246801357 24681357902468";

bool letter(char c) { return (c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80; }

char plain(char c) {
    static const char written[] = "@43!10$57", meant[] = "aaellosst"; // p@55w0rd
    const char *at = c ? strchr(written, c) : nullptr;
    return at ? meant[at - written] : c;
}

// A text as long as a word that is in no list passes for one of it once in 10,000 times: its owner then thinks of another. A longer one, be it a sentence or
// made at random, never does.
bool is_word(std::string_view text) {
    if (text.size() < common_length_min || text.size() > common_length_max) return false;
    uint64_t hash = 0;
    for (char c : text) hash = (hash * common_multiplier + (unsigned char)plain(c)) % common_modulus;
    uint32_t bucket = (uint32_t)(hash >> 16), at = 0;
    for (uint32_t i = 0; i < bucket; i++) at += common_counts[i];
    for (uint32_t end = at + common_counts[bucket]; at < end; at++)
        if (common_rests[at] == (hash & 0xffff)) return true;
    return false;
}

// A word with at most four signs before and behind it.
bool is_lengthened_word(std::string_view text) {
    if (is_word(text)) return true;
    for (int i = 0; i < 4 && !text.empty() && !letter(text.back()); i++) {
        text.remove_suffix(1);
        if (is_word(text)) return true;
    }
    for (int i = 0; i < 4 && !text.empty() && !letter(text.front()); i++) text.remove_prefix(1);
    return is_word(text);
}

// "asdfasdf", "11111111", "12312312": at most four signs, again and again.
bool is_repetition(std::string_view text) {
    for (size_t period = 1; period <= 4; period++) {
        size_t same = period;
        while (same < text.size() && text[same] == text[same - period]) same++;
        if (same == text.size()) return true;
    }
    return false;
}

size_t walk_length(std::string_view text, int step) {
    size_t longest = 0;
    for (size_t begin = 0; begin < sizeof walks - 1; begin++) {
        size_t n = 0;
        for (size_t at = begin; n < text.size() && at < sizeof walks - 1 && walks[at] == text[n] && text[n] != ' '; at += (size_t)step) n++;
        if (n > longest) longest = n;
    }
    return longest;
}

// "qwertyuiop", "1qaz2wsx", "qweasdzxc", "87654321", "abcd1234": ways of at least three keys, of which two may be left at the end.
bool is_walk(std::string_view text) {
    while (text.size() > 2) {
        size_t on = walk_length(text, 1), back = walk_length(text, -1), n = on > back ? on : back;
        size_t same = 1;
        while (same < text.size() && text[same] == text[0]) same++;
        if (same > n) n = same;
        if (n < 3) return false;
        text.remove_prefix(n);
    }
    return true;
}

} // namespace

bool password_is_common(std::string_view folded) {
    constexpr size_t guessed_max = 16; // what repeats or walks on for longer is in no list, and how long it goes on is a secret too
    if (folded.size() <= guessed_max && (is_repetition(folded) || is_walk(folded))) return true;
    return is_lengthened_word(folded);
}
