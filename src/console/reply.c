/* SPDX-License-Identifier: Apache-2.0 */
/* What the console's handlers read of a request, and how they answer it. */
#include "console/guard.h"
#include "console/inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void
reply_json(struct http_request *rq, unsigned status, json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;

    json_decref(value);
    if (text == NULL)
        http_reply(rq, 503, "application/json", span_str("{\"message\":\"Out of memory.\"}"));
    else
        http_reply(rq, status, "application/json", span_str(text));
    free(text);
}

void
refuse(struct http_request *rq, unsigned status, const char *fmt, ...)
{
    char text[BM_MSG_LEN];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *t = text; *t != '\0'; t++) { /* what was asked may not be UTF-8 */
        if ((unsigned char)*t < ' ' || (unsigned char)*t >= 0x7f)
            *t = '?';
    }
    reply_json(rq, status, json_pack("{s:s}", "message", text));
}

void
refuse_err(struct http_request *rq, enum bm_err err, const struct bm_msg *msg)
{
    refuse(rq,
        err == BM_ERR_NOT_FOUND                         ? 404
        : err == BM_ERR_INPUT || err == BM_ERR_ARG      ? 400
        : err == BM_ERR_LIMIT || err == BM_ERR_CONFLICT ? 409
                                                        : 503,
        "%s", msg->text);
}

const char *
query_text(const struct http_request *rq, const char *name, struct buf *room)
{
    room->len = 0;
    return http_query_value(rq, name, room) ? buf_cstr(room) : NULL;
}

size_t
query_number(const struct http_request *rq, const char *name, size_t otherwise, size_t max)
{
    struct buf room = { 0 };
    const char *text = query_text(rq, name, &room);
    int64_t n = 0;

    if (text != NULL && guard_event_id(text, &n) && n > 0)
        otherwise = (uint64_t)n < max ? (size_t)n : max;
    buf_fini(&room);
    return otherwise;
}

json_t *
body_object(struct http_request *rq)
{
    struct span body = http_body(rq);
    json_error_t at;
    json_t *value = json_loadb((const char *)body.ptr, body.len, JSON_REJECT_DUPLICATES, &at);

    if (json_is_object(value))
        return value;
    json_decref(value);
    refuse(rq, 400, "The body is no JSON object.");
    return NULL;
}
