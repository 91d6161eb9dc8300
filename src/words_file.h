// The stop words in force: a file's, or the built-in list. Start and SIGHUP.
#pragma once

#include "base/buf.h"
#include "chat/words.h"

// The text of the list. path "": the built-in one. False with one line in *error when the file cannot be read.
bool words_file_text(const char *path, Buf *text, Buf *error);
// The list, parsed. Null with one line in *error when it cannot be read or has a mistake. The caller owns the result.
Words *words_file_read(const char *path, Buf *error);
