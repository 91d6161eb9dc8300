// The stop words in force: reads a file of bounded size and leaves the parsing to chat/words.
#include "words_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool words_file_text(const char *path, Buf *text, Buf *error) {
    if (!path[0]) {
        buf_add(*text, words_builtin());
        return true;
    }
    FILE *f = fopen(path, "rb");
    if (!f) {
        buf_printf(*error, "cannot read the stop words in %s: %s", path, strerror(errno));
        return false;
    }
    buf_reserve(*text, words_file_bytes_max + 1);
    text->len = fread(text->data, 1, words_file_bytes_max + 1, f);
    bool bad = ferror(f) || text->len > words_file_bytes_max;
    if (bad) buf_printf(*error, "cannot read the stop words in %s: %s", path, ferror(f) ? strerror(errno) : "the file is over 256 KiB");
    fclose(f);
    return !bad;
}

Words *words_file_read(const char *path, Buf *error) {
    ScopedBuf text;
    if (!words_file_text(path, &text, error)) return nullptr;
    Words *words = words_parse(buf_view(text), error);
    if (!words && path[0]) buf_printf(*error, " (in %s)", path);
    return words;
}
