// The rules for what people may call themselves and write. Pure functions of their arguments.
#include "chat/rules.h"

#include <string.h>

#include "base/limits.h"
#include "base/unicode.h"

namespace {

// What attackers try first, of eight characters and more: folded and in byte order.
constexpr const char *common_passwords[] = {
    "00000000", "000000000", "0000000000", "01234567", "0123456789", "11111111", "111111111", "1111111111", "11112222", "11223344", "1122334455",
    "112233445566", "12121212", "123123123", "123321123", "12341234", "12344321", "123454321", "1234554321", "12345678", "123456789", "1234567890",
    "12345678910", "123456qwerty", "12345qwert", "1234qwer", "123654789", "123qwe123", "123qweasd", "13579246", "135792468", "147258369", "147852369",
    "159357258", "159753456", "1q2w3e4r", "1q2w3e4r5t", "1q2w3e4r5t6y", "1qaz2wsx", "1qaz2wsx3edc", "1qazxsw2", "22222222", "24681357", "33333333",
    "44444444", "456789123", "55555555", "66666666", "741852963", "77777777", "789456123", "87654321", "88888888", "963852741", "987456321",
    "987654321", "9876543210", "99999999", "a1234567", "a12345678", "a123456789", "a1b2c3d4", "a1s2d3f4", "aa123456", "aaa111aaa", "aaaaaaaa",
    "aaaaaaaaaa", "aabbccdd", "abc12345", "abc123456", "abcd1234", "abcdabcd", "abcde12345", "abcdefgh", "abcdefghi", "abcdefghij", "access14",
    "admin123", "admin1234", "admin12345", "admin123456", "adminadmin", "administrator", "alexander", "alexandra", "angel123", "arsenal1", "asdf1234",
    "asdfasdf", "asdfghjk", "asdfghjkl", "asdfqwer", "autumn2024", "azerty123", "azertyui", "azertyuiop", "babygirl", "babygirl1", "barcelona",
    "baseball", "baseball1", "basketball", "batman123", "benjamin", "blessed1", "blink182", "bonjour1", "butterfly", "changeme", "changeme1",
    "changeme123", "charlie1", "charlotte", "chatchat", "chatroom", "chatterbox", "chatterbox1", "cheese123", "chelsea1", "chocolate", "christian",
    "christopher", "computer", "computer1", "contrasena", "corvette", "cowboys1", "cupcake1", "danielle", "december", "december1", "default1",
    "dragon12", "dragon123", "elizabeth", "eminem123", "facebook", "facebook1", "fernando", "ferrari1", "football", "football1", "francisco",
    "freedom1", "gabriela", "geheim123", "google123", "guest123", "guestguest", "hallo123", "hallohallo", "hannah123", "harley12", "hello123",
    "hello1234", "hellohello", "helloworld", "hunter12", "ilovegod", "iloveme1", "iloveu12", "iloveyou", "iloveyou!", "iloveyou1", "iloveyou2",
    "instagram", "internet", "internet1", "isabella", "january1", "jennifer", "jessica1", "jesus123", "jesuschrist", "jonathan", "jordan23",
    "juventus", "killer123", "lakers24", "letmein!", "letmein1", "letmein123", "linkedin", "liverpool", "liverpool1", "lkjhgfdsa", "login123",
    "loginlogin", "losenord", "lovelove", "loveme123", "loveyou1", "lozinka1", "manchester", "marlboro", "master12", "master123", "maverick",
    "mercedes", "metallica", "michael1", "michelle", "midnight", "midnight1", "minecraft", "minecraft1", "mnbvcxz1", "monkey12", "monkey123",
    "motdepasse", "mudar123", "mustang1", "mypassword", "nicholas", "ninja123", "nirvana1", "november", "p@$$w0rd", "p@ssw0rd", "p@ssword",
    "pa$$w0rd", "pa$$word", "parola123", "pass1234", "pass12345", "pass123456", "pass@123", "pass@word1", "passpass", "passw0rd", "passw0rd1",
    "password", "password!", "password1", "password1!", "password12", "password123", "password1234", "passwords", "passwort", "passwort1",
    "passwort123", "patricia", "peaches1", "poiuytrewq", "pokemon1", "pokemon123", "porsche1", "princess", "princess1", "q1w2e3r4", "q1w2e3r4t5",
    "qazwsx123", "qazwsxedc", "qqqqqqqq", "qwe123qwe", "qweasdzxc", "qweqweqwe", "qwer1234", "qwerasdf", "qwerqwer", "qwert123", "qwerty12",
    "qwerty123", "qwerty1234", "qwerty12345", "qwerty123456", "qwertyui", "qwertyuiop", "qwertyuiop123", "qwertz123", "qwertzui", "qwertzuiop",
    "rainbow1", "realmadrid", "root1234", "rootroot", "salasana", "samantha", "samsung1", "schatz123", "scooter1", "sebastian", "secret12",
    "secret123", "senha123", "september", "server123", "sexysexy", "shadow12", "shadow123", "slipknot", "snowball", "softball", "soleil123",
    "sommer123", "spiderman", "spring2024", "starwars", "starwars1", "steelers", "strawberry", "summer12", "summer123", "summer2023", "summer2024",
    "summer2025", "sunshine", "sunshine1", "superman", "superman1", "temp1234", "temporary", "test1234", "test12345", "tester123", "testing1",
    "testing123", "testtest", "tinkerbell", "toor1234", "topsecret", "trustno1", "unicorn1", "veronica", "victoria", "wachtwoord", "welcome1",
    "welcome12", "welcome123", "welcome2", "welkom01", "welkom123", "whatever", "whatever1", "whatsapp", "winter123", "winter2024", "winter2025",
    "xxxxxxxx", "yankees1", "youtube1", "zaq12wsx", "zaq1xsw2", "zaq1zaq1", "zxcvasdf", "zxcvbnm,", "zxcvbnm1", "zxcvbnm123", "zzzzzzzz",
};

bool password_common(std::string_view folded) {
    size_t low = 0, high = sizeof common_passwords / sizeof common_passwords[0];
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = folded.compare(common_passwords[middle]);
        if (order == 0) return true;
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return false;
}

bool name_char(int32_t c) { return unicode_is_letter_or_digit(c) || c == '_' || c == '-' || c == '.'; }

bool username_ok(std::string_view name) {
    size_t at = 0;
    int32_t first = utf8_next(name, &at);
    if (first < 0 || !unicode_is_letter_or_digit(first) || unicode_is_mark(first)) return false;
    while (at < name.size()) {
        if (!name_char(utf8_next(name, &at))) return false;
    }
    return !name.ends_with('.');
}

// Joiners make emoji and are letters' servants in Persian and Indic scripts; variation selectors choose an emoji's look.
bool joiner(int32_t c) { return c == 0x200c || c == 0x200d; }
bool variation_selector(int32_t c) { return c >= 0xfe00 && c <= 0xfe0f; }

bool visible(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
        if (!unicode_is_invisible(utf8_next(text, &at))) return true;
    }
    return false;
}

// One line that cannot pass for another or change the direction of what stands around it.
Err rules_line(std::string_view line, uint32_t chars_max, Buf *clean) {
    line = unicode_trim(line);
    if (utf8_count(line) > chars_max) return Err::too_long;
    int32_t before = -1;
    for (size_t at = 0; at < line.size();) {
        int32_t c = utf8_next(line, &at);
        if (unicode_is_control(c) || c == 0x2028 || c == 0x2029) return Err::bad_request;
        if (unicode_is_invisible(c) && !unicode_is_space(c) && c != 0x2800) {
            bool inside = before >= 0 && !unicode_is_space(before) && !joiner(before);
            if (!inside) return Err::bad_request;
            if (!variation_selector(c) && !(joiner(c) && at < line.size())) return Err::bad_request;
        }
        before = c;
    }
    buf_add(*clean, line);
    return Err::ok;
}

// Most of most texts: eight characters of ASCII without controls. *shows is set when one is no space.
bool eight_plain(const char *text, bool *shows) {
    constexpr uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t eight;
    memcpy(&eight, text, 8);
    // Without high bits no byte's sum or difference reaches into the next one's high bit: 0x7f + 1 and 0x1f - 0x20 set their own.
    if ((eight & highs) || ((eight + ones) & highs) || (((eight | highs) - ones * 0x20) & highs) != highs) return false;
    *shows = *shows || eight != ones * ' ';
    return true;
}

} // namespace

Err rules_username(std::string_view name, Buf *key) {
    if (name.size() > username_chars_max * 4 || utf8_count(name) > username_chars_max || !username_ok(name)) return Err::bad_username;
    // Folding can bring out what the rule keeps out: the letter U+FDFA unfolds to words with spaces, U+2488 to "1.".
    ScopedBuf folded;
    if (!unicode_fold_key(name, folded) || !username_ok(buf_view(folded))) return Err::bad_username;
    buf_add(*key, buf_view(folded));
    return Err::ok;
}

Err rules_password(std::string_view password, std::string_view username) {
    if (password.size() > password_chars_max * 16) return Err::bad_password; // before any work on it
    ScopedBuf nfc, folded, folded_username;
    if (!unicode_nfc(password, nfc)) return Err::bad_password;
    size_t chars = utf8_count(buf_view(nfc));
    if (chars < password_chars_min || chars > password_chars_max) return Err::bad_password;
    if (!unicode_fold_key(password, folded) || !unicode_fold_key(username, folded_username)) return Err::bad_password;
    if (buf_view(folded) == buf_view(folded_username) || password_common(buf_view(folded))) return Err::bad_password;
    return Err::ok;
}

Err rules_room_name(std::string_view name, Buf *clean, Buf *key) {
    name = unicode_trim(name);
    if (name.empty() || name.size() > room_name_chars_max * 16) return Err::bad_name; // before any work on it
    ScopedBuf single, folded;
    int32_t before = ' ';
    for (size_t at = 0; at < name.size();) {
        int32_t c = utf8_next(name, &at);
        if (c != ' ' && !name_char(c)) return Err::bad_name;
        if (before == ' ' && unicode_is_mark(c)) return Err::bad_name; // it would sit on the space
        if (c != ' ' || before != ' ') utf8_put(single, c);
        before = c;
    }
    if (utf8_count(buf_view(single)) > room_name_chars_max) return Err::bad_name;
    if (!unicode_fold_key(buf_view(single), folded)) return Err::bad_name;
    for (size_t at = 0; at < folded.len;) {
        int32_t c = utf8_next(buf_view(folded), &at);
        if (c != ' ' && !name_char(c)) return Err::bad_name; // as with usernames
    }
    buf_add(*clean, buf_view(single));
    buf_add(*key, buf_view(folded));
    return Err::ok;
}

Err rules_topic(std::string_view topic, Buf *clean) { return rules_line(topic, topic_chars_max, clean); }

Err rules_display_name(std::string_view name, Buf *clean) {
    if (!visible(name)) return Err::empty;
    return rules_line(name, display_name_chars_max, clean);
}

Err rules_status(std::string_view status, Buf *clean) { return rules_line(status, status_chars_max, clean); }

Err rules_text(std::string_view text, uint32_t chars_max, Buf *clean) {
    text = unicode_trim(text);
    bool shows = false;
    uint32_t chars = 0;
    for (size_t at = 0; at < text.size();) {
        if (at + 8 <= text.size() && eight_plain(text.data() + at, &shows)) {
            at += 8, chars += 8;
            if (chars > chars_max) return Err::too_long;
            continue;
        }
        int32_t c = utf8_next(text, &at);
        if (c == '\r' && at < text.size() && text[at] == '\n') continue; // counts as the LF behind it
        if (unicode_is_control(c) && c != '\t' && c != '\n') return Err::bad_request;
        shows = shows || !unicode_is_invisible(c);
        if (++chars > chars_max) return Err::too_long;
    }
    if (!shows) return Err::empty;
    for (size_t from = 0; from < text.size();) {
        size_t cr = text.find('\r', from); // each is before an LF
        buf_add(*clean, text.substr(from, cr == text.npos ? cr : cr - from));
        from = cr == text.npos ? text.size() : cr + 1;
    }
    return Err::ok;
}
