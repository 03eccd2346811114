/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the page, inside the program (web/, made into C by `embed`). A browser asks each
 * time whether its copy is still good and gets 304: so a new program is seen at once.
 */
#include "console/inside.h"

#include <string.h>

struct page {
    const char *path;
    const char *type;
    const char *tag;
    const uint8_t *bytes;
    size_t len;
};

#include "pages.inc"

bool
page_serve(struct http_request *rq)
{
    const char *seen = http_header(rq, "If-None-Match");

    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        const struct page *p = &pages[i];

        if (strcmp(http_path(rq), p->path) != 0)
            continue;
        http_set_header(rq, "ETag", p->tag);
        http_set_header(rq, "Cache-Control", "no-cache");
        if (seen != NULL && strcmp(seen, p->tag) == 0)
            http_reply(rq, 304, NULL, span_of(NULL, 0));
        else
            http_reply(rq, 200, p->type, span_of(p->bytes, p->len));
        return true;
    }
    return false;
}
