/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte arrays as the vendor's tool prints them: 32 bytes a line, upper case (SPEC a71ch 8.4); and
 * members of JSON objects.
 */
#include "config/tool.h"

#include <stdio.h>

enum { LINE_LEN = 32 };

static void
print_bytes(const char *title, struct span bytes, bool colon)
{
    struct rd r = rd_of(bytes);

    printf("%s (LEN=%zu):\n", title, bytes.len);
    for (size_t column = 1; rd_left(&r) > 0; column++) {
        bool full = column % LINE_LEN == 0;

        printf("%02X", rd_u8(&r));
        if (colon && (full || rd_left(&r) > 0)) /* a full line ends with a colon */
            (void)putchar(':');
        if (full || rd_left(&r) == 0)
            (void)putchar('\n');
    }
}

void
print_bytes_colon(const char *title, struct span bytes)
{
    print_bytes(title, bytes, true);
}

void
print_bytes_compact(const char *title, struct span bytes)
{
    print_bytes(title, bytes, false);
}

void
print_hex(struct span bytes)
{
    struct rd r = rd_of(bytes);

    while (rd_left(&r) > 0)
        printf("%02X", rd_u8(&r));
}

void
json_hex(FILE *to, const char *name, struct span bytes)
{
    fprintf(to, "\"%s\":\"", name);
    for (struct rd r = rd_of(bytes); rd_left(&r) > 0;)
        fprintf(to, "%02x", rd_u8(&r));
    (void)fputc('"', to);
}

void
json_text(FILE *to, const char *name, const char *value)
{
    fprintf(to, "\"%s\":\"", name);
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(to, "\\%c", *c);
        else if ((unsigned char)*c < ' ')
            fprintf(to, "\\u%04x", (unsigned)(unsigned char)*c);
        else
            (void)fputc(*c, to);
    }
    (void)fputc('"', to);
}
