/* SPDX-License-Identifier: Apache-2.0 */
/* See lease.h. */
#include "a71chd/lease.h"

#include "a71chd/control.h"

#include <stdio.h>
#include <string.h>

enum { REFUSED = 1 };

/* The next zero-ended word of the payload; NULL when there is none. */
static const char *
next_word(struct rd *r)
{
    struct span rest = rd_rest(r);
    const uint8_t *end = rest.len > 0 ? memchr(rest.ptr, 0, rest.len) : NULL;

    if (end == NULL)
        return NULL;
    *r = rd_of(rest);
    (void)rd_span(r, (size_t)(end - rest.ptr) + 1);
    return (const char *)rest.ptr;
}

static bool
read_ms(const char *word, unsigned *out)
{
    unsigned long ms = 0;

    for (const char *c = word; *c != '\0'; c++) {
        if (*c < '0' || *c > '9' || ms > BACKEND_TIME_MAX_MS)
            return false;
        ms = ms * 10 + (unsigned)(*c - '0');
    }
    *out = (unsigned)ms;
    return ms >= 1 && ms <= BACKEND_TIME_MAX_MS;
}

static enum bm_err
parse_times(struct rd r, struct lease_request *out)
{
    const char *word = next_word(&r);

    if (word != NULL && !read_ms(word, &out->wait_ms))
        return BM_ERR_ARG;
    word = word != NULL ? next_word(&r) : NULL;
    if (word != NULL && !read_ms(word, &out->hold_ms))
        return BM_ERR_ARG;
    return rd_left(&r) == 0 ? BM_OK : BM_ERR_ARG;
}

enum bm_err
lease_parse(const struct jrcp_msg *msg, struct lease_request *out, const char **cause)
{
    struct rd r = rd_of(msg->payload);
    const char *word;

    *out = (struct lease_request){
        .release = msg->mty == JRCP_UNLOCK,
        .wait_ms = BACKEND_WAIT_MS,
        .hold_ms = BACKEND_HOLD_MS,
    };
    if (msg->mty == JRCP_LOCK || msg->mty == JRCP_UNLOCK)
        return BM_OK;
    word = msg->mty == JRCP_DEBUG_INFO ? next_word(&r) : NULL;
    if (word == NULL || (strcmp(word, "lease") != 0 && strcmp(word, "release") != 0))
        return BM_ERR_NOT_FOUND;
    out->release = *word == 'r';
    *cause = out->release ? "want: release, without arguments"
                          : "want: lease [WAIT_MS [HOLD_MS]], each from 1 to 60000";
    if (out->release)
        return rd_left(&r) == 0 ? BM_OK : BM_ERR_ARG;
    return parse_times(r, out);
}

void
lease_reply(struct wr *out, uint8_t mty, const struct backend_answer *answer)
{
    struct jrcp_msg msg = { .mty = mty };

    if (mty == JRCP_DEBUG_INFO) {
        msg.nad = answer->err == BM_OK ? CONTROL_LAST : CONTROL_ERROR;
        msg.payload = span_str(answer->err == BM_OK ? "{}" : answer->cause);
        (void)jrcp_build(out, &msg); /* sentences are short */
        return;
    }
    wr_u8(out, mty); /* no message of this length follows, so not by jrcp_build */
    wr_u8(out, 0);
    wr_u8(out, 0);
    wr_u8(out, answer->err == BM_OK ? 0 : REFUSED);
}
