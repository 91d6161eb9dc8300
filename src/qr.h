// Draws a short text as a QR code on a terminal. libqrcodegen behind this door.
#pragma once

#include <stdio.h>
#include <string_view>

// Two modules a character cell, dark on light whatever the terminal's colours. Nothing when the text does not fit a code of 57 modules.
void qr_print(FILE *out, std::string_view text);
