// Rules: what names, passwords, topics and texts may be (PROTOCOL §2.3). No state, any thread. Stop words are chat/words' part, uniqueness the store's.
// Each function wants valid UTF-8 (what json_string gives) and appends its results to the Bufs only when it returns Err::ok.
#pragma once

#include "base/buf.h"
#include "base/errors.h"

// 1 to 32 letters, digits, _ - or . ; begins with a letter or digit, does not end in a dot. *key is the form under which it is unique. Else bad_username.
Err rules_username(std::string_view name, Buf *key);
// 8 to 128 characters in NFC, not a common one, not the username. Hash its NFC form (unicode_nfc). Else bad_password.
Err rules_password(std::string_view password, std::string_view username);
// *clean is trimmed, with single spaces; 1 to 64 letters, digits, space, _ - or . ; *key as above. Else bad_name.
Err rules_room_name(std::string_view name, Buf *clean, Buf *key);

// One line, trimmed. Controls, line breaks, and invisible characters that could reorder or imitate other text: bad_request; too long: too_long.
// A display name shows something (else empty); a topic or status may be empty.
Err rules_topic(std::string_view topic, Buf *clean);
Err rules_display_name(std::string_view name, Buf *clean);
Err rules_status(std::string_view status, Buf *clean);

// A message: trimmed, CRLF as LF, else as sent. Controls other than tab and LF: bad_request; nothing visible: empty; over chars_max characters: too_long.
Err rules_text(std::string_view text, uint32_t chars_max, Buf *clean);
