/* Prints wcwidth of every code point, one character each: a digit, '-' for none, 's' for a surrogate. For the guest's own libc. */
#define _XOPEN_SOURCE 700
#include <locale.h>
#include <stdio.h>
#include <wchar.h>

int main(void) {
    if (setlocale(LC_ALL, "C.UTF-8") == NULL) return 1;
    for (int c = 0; c < 0x110000; c++) {
        int width = wcwidth(c);
        putchar(c >= 0xd800 && c < 0xe000 ? 's' : width < 0 ? '-' : '0' + width);
    }
    return 0;
}
