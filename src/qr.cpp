// QR codes on a terminal: half blocks, so that a cell of the usual 1:2 shape holds two square modules.
#include "qr.h"

extern "C" {
#include <qrcodegen/qrcodegen.h>
}

#include <string.h>

constexpr int version_max = 10; // 57 modules: an address is never that long, and it still fits 80 columns with its quiet zone
constexpr int quiet = 4; // what ISO/IEC 18004 asks for

void qr_print(FILE *out, std::string_view text) {
    uint8_t code[qrcodegen_BUFFER_LEN_FOR_VERSION(version_max)], scratch[qrcodegen_BUFFER_LEN_FOR_VERSION(version_max)];
    char line[256];
    if (text.size() >= sizeof line) return;
    memcpy(line, text.data(), text.size());
    line[text.size()] = '\0';
    if (!qrcodegen_encodeText(line, scratch, code, qrcodegen_Ecc_LOW, qrcodegen_VERSION_MIN, version_max, qrcodegen_Mask_AUTO, true)) return;
    int size = qrcodegen_getSize(code);
    for (int y = -quiet; y < size + quiet; y += 2) {
        fputs("  \033[30;107m", out); // black on white
        for (int x = -quiet; x < size + quiet; x++) {
            bool upper = qrcodegen_getModule(code, x, y), lower = qrcodegen_getModule(code, x, y + 1); // outside the code: light
            fputs(upper ? (lower ? "█" : "▀") : (lower ? "▄" : " "), out);
        }
        fputs("\033[0m\n", out);
    }
}
