/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packages on their way into the code store. A package of 50 MB takes seconds to decode, unpack and
 * sync, so a process of its own does that (job.h) while the loop goes on.
 */
#include "lambda/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UPLOADS_MAX = 8 };

struct upload {
    struct upload *next;
    struct lambda *lambda;
    struct job *job;
    struct config config;
    struct span base64; /* for the child, which has the memory as it was */
    struct lambda_code code;
    lambda_code_fn fn;
    void *arg;
};

static void
upload_free(struct upload *u)
{
    struct upload **at = &u->lambda->uploads;

    while (*at != NULL && *at != u)
        at = &(*at)->next;
    if (*at == u)
        *at = u->next;
    job_cancel(u->job);
    config_fini(&u->config);
    free(u);
}

static enum bm_err
upload_work(void *arg, struct buf *out, struct bm_msg *msg)
{
    struct upload *u = arg;
    struct buf zip = { 0 };
    enum bm_err err;

    if (u->base64.len == 0) {
        err = code_check(&u->lambda->store, &u->config, u->code.sha256, msg);
    } else {
        err = base64_decode(&zip, u->base64);
        if (err == BM_OK)
            err = code_put(&u->lambda->store, &u->config, buf_span(&zip), u->code.sha256, msg);
        else
            (void)bm_fail(msg, err, "the member 'ZipFile' is not base64");
        u->code.size = zip.len;
        buf_fini(&zip);
    }
    buf_add(out, &u->code, sizeof u->code);
    return err;
}

static void
on_stored(void *arg, enum bm_err err, const struct bm_msg *msg, struct span out)
{
    struct upload *u = arg;
    lambda_code_fn fn = u->fn;
    void *fn_arg = u->arg;
    struct lambda_code code = { 0 };

    if (out.len == sizeof code)
        memcpy(&code, out.ptr, sizeof code);
    u->job = NULL;
    upload_free(u);
    fn(fn_arg, err, msg, &code);
}

enum bm_err
lambda_put_code(struct lambda *l, struct span config, struct span base64, const uint8_t sha256[32],
    lambda_code_fn fn, void *arg, struct bm_msg *msg)
{
    struct upload *u;
    size_t count = 0;
    enum bm_err err;

    for (u = l->uploads; u != NULL; u = u->next)
        count++;
    if (count >= UPLOADS_MAX)
        return bm_fail(msg, BM_ERR_LIMIT, "%d packages are being unpacked; try again in a moment",
            UPLOADS_MAX);
    u = calloc(1, sizeof *u);
    if (u == NULL)
        return BM_ERR_MEM;
    *u = (struct upload){ .lambda = l, .base64 = base64, .fn = fn, .arg = arg };
    if (base64.len == 0)
        memcpy(u->code.sha256, sha256, sizeof u->code.sha256);
    err = config_parse(config, &u->config, msg);
    if (err == BM_OK)
        err = job_start(l->options.loop, upload_work, u, on_stored, u, &u->job, msg);
    if (err != BM_OK) {
        upload_free(u);
        return err;
    }
    u->next = l->uploads;
    l->uploads = u;
    return BM_OK;
}

void
uploads_end(struct lambda *l)
{
    while (l->uploads != NULL)
        upload_free(l->uploads);
}
