// The rules for what people may call themselves and write. Pure functions of their arguments.
#include "chat/rules.h"

#include <string.h>

#include "base/crypto.h"
#include "base/limits.h"
#include "base/unicode.h"

namespace {

// What attackers try first: words that people lengthen by a few digits or signs. One text and not a table, whose pointers the loader would have to set; it is looked through
// once a registration. Written by hand.
constexpr char common_words[] =
    " "
    "aaaaaaaa aaaaaaaaaa aaalllaaa aabbccdd aal2 aaron abcd abcdabcd abcdefgh abcdefghi abcdefghij abcdel abcl abcl2 abigail access adidas admin "
    "adminadmin administrator adminl adminl2 al2e al2ea al2eas alb2ced alexander alexandra alexis als2def alyssa amanda america andrea andrew angel "
    "angela angels anthony apple apples arsenal as asdf asdfasdf asdfgh asdfghjk asdfghjkl asdfqwer ashley asshole austin autumn azerty azertyui "
    "azertyuiop babyboy babygirl badboy bailey banana barbie barcelona baseball basketball batman beautiful benjamin bitch blahblah blessed blink "
    "bonjour booboo brandon brittany bubbles business buster butter buttercup butterfly california cameron canada carlos carolina caroline carpenter "
    "casper celtic challenge champion changeme charlie charlotte chatchat chatroom chatterbox cheerleader cheese chelsea cherry chester chevrolet "
    "chicken china chocolate chris christian christmas christopher claudia cocacola coffee comanche computer concrete contrasena cookie corvette "
    "courtney cowboy cowboys creative cristina crusader crystal cupcake daddy dancing daniel daniela danielle darkness darkstar david december default "
    "delicious dennis destiny diamond diego dinosaur director discovery doctorwho dolphin dolphins donald dragon dreamer eagles easter ee eeaa "
    "einstein electric elephant elizabeth eminem emmanuel english enterprise estrella eternity explorer facebook fatima favorite february federico "
    "fernando ferrari fireball firebird fishing fitness florida flower flowers fluffy football forever fountain france francisco frank freddy frederic "
    "freedom friend friends fuckoff fuckyou gabriel gabriela gandalf gangster garfield geheim george germany geronimo giants ginger giovanni golden "
    "golfer google gorgeous graduate grandma greatest greenday guest guestguest guitar gunner hallo hallohallo hammer hannah happy hardcore harley "
    "harrypotter heather hellfire hello hellohello hellokitty helloworld highland hockey hollywood homework honda honey horses house hunter hurricane "
    "iceman ilovegod iloveme iloveu iloveyou india infinity instagram internet iphone ironman isabella jackass jackson jaguar jamaica january jasmine "
    "jason jennifer jeremy jessica jesus jesuschrist johnny jonasbrothers jonathan jordan joseph joshua junior justice justin juventus katherine "
    "kawasaki killer kimberly kingkong kitten knight l lacrosse ladybug lakers lauren lavender legend leonardo letmein linda linkedin liverpool "
    "lkjhgfdsa ll login loginlogin lollipop london lorenzo losenord loulou love lovelove lovely loveme lovers loveyou lozinka lucky macintosh madison "
    "madonna maggie magnolia manchester marathon margarita mariana marina marine marlboro marshall martin marvin master matrix matthew maverick "
    "maxwell megadeth melissa memphis mercedes mercury merlin metallica mexico michael michelle mickey midnight miguel miller minecraft miracle "
    "mitchell mnbvcxz mommy money monika monkey monster montana moonlight morgan morpheus motdepasse mother motorola mountain mozart mudar murphy "
    "music musician mustang mylove mypassword napoleon naruto natalia natalie natasha nathan natural nebraska newcastle newyork nicholas nicole ninja "
    "nintendo nirvana nopassword nosferatu notebook nothing november o october oo operator orange overlord packers pakistan panasonic pantera panther "
    "paradise paris parola pass passat passaword passl passl2 passpass passport password password1 passwords passwort patricia peaches peanut penelope "
    "penguin pepper peterpan phantom phoenix picasso pikachu platinum playboy player please pleasure poiuytrewq pokemon police porsche poseidon "
    "precious president preston pretty princesa princess pumpkin purple pussy pyramid q2weear q2weearst q2weearst6y qaz2wsx qaz2wsxeedc qazwsx "
    "qazwsxedc qazxsw qlw2eer qlw2eerat qqqqqqqq qwe qweasd qweasdzxc qwel2eqwe qweqweqwe qwer qwerasdf qwerqwer qwert qwerty qwertyl qwertyl2 "
    "qwertyui qwertyuiop qwertz qwertzui qwertzuiop rabbit rachel raiders rainbow rammstein ranger rangers rasputin realmadrid rebecca redskins redsox "
    "remember republic richard richmond roadrunner robert rocket rockstar ronaldo root rootroot rosebud running russia s s6 s6qwerty s6t sa sabrina "
    "salasana samantha sammy samsung sandra sandwich santaclaus santiago sasuke sayang scarface schatz scooby scooter scorpion scotland sebastian "
    "secret security senha september serenity server seven sexy sexysexy shadow shamrock shannon shithead silver silverado simple simpsons skateboard "
    "skater skywalker slayer slipknot smackdown smokey snickers snoopy snowball soccer softball soleil solution something sommer sophie southern "
    "spartan spider spiderman spitfire spring sqwert ss stalker stargate startrek starwars steelers stella stephanie steven strawberry summer "
    "sunflower sunshine superman supernova superstar sweetheart sweetie sweetpea sweety swordfish tamara taylor teacher teamo temp temporary tennis "
    "tequiero teresa terminator test teste tester testing testl testtest thailand thomas thunder thunderbird tiger tigers tigger timberland time "
    "tinkerbell titanic tomcat toor topsecret tottenham toyota triangle trinity triumph trumpet trustno turtle twilight unicorn universe university "
    "user vacation valentin valentina valentine vampire vanessa veronica victor victoria viking vincent violet virginia vladimir volleyball wachtwoord "
    "warcraft warhammer warrior waterfall welcome welkom westside whatever whatsapp wildcats william willow wilson windows winner winter wizard "
    "wolfgang wolverine wonderful wrestling xavier xxxxxxxx yamaha yankees yellow yesterday youtube zaql2wsx zaqlxsw zaqlzaq zelda zeppelin zxcv "
    "zxcvasdf zxcvbnm zzzzzzzz ";
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

bool is_word(std::string_view text) {
    ScopedBuf wanted;
    buf_add_char(wanted, ' ');
    for (char c : text) buf_add_char(wanted, plain(c));
    buf_add_char(wanted, ' ');
    bool found = std::string_view(common_words).find(buf_view(wanted)) != std::string_view::npos;
    memory_wipe(buf_view(wanted));
    return found;
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

bool password_common(std::string_view folded) { return is_repetition(folded) || is_walk(folded) || is_lengthened_word(folded); }

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
    if (!unicode_nfc(password, nfc) || !unicode_fold_key(password, folded) || !unicode_fold_key(username, folded_username)) return Err::bad_password;
    size_t chars = utf8_count(buf_view(nfc));
    bool good = chars >= password_chars_min && chars <= password_chars_max && buf_view(folded) != buf_view(folded_username) && !password_common(buf_view(folded));
    memory_wipe(buf_view(nfc));
    memory_wipe(buf_view(folded));
    return good ? Err::ok : Err::bad_password;
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
