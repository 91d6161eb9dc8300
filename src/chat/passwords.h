// What attackers try first: leaked passwords, and how people vary them. No state, any thread.
#pragma once

#include <string_view>

// `folded` is a password after unicode_fold_key. True: one of the list, also with digits for letters or up to four signs before and behind; a way over the keyboard; a few
// signs again and again. Keeps nothing of it.
bool password_is_common(std::string_view folded);
