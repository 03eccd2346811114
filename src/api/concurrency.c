/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reserved concurrency: how often a function may run at a time. SPEC aws-iot 5.5. Kept as a member
 * of the stored configuration; the lambda room keeps to it.
 */
#include "api/internal.h"

#include <stdlib.h>
#include <string.h>

/* `value` is taken; NULL: none. True: stored and in force; else refused. */
static bool
set_reserved(struct call *c, struct registry_function *f, json_t *value)
{
    json_t *config = json_loadb((const char *)f->config.ptr, f->config.len, 0, NULL);
    struct bm_msg msg = { "" };
    char *text;
    enum bm_err err = BM_ERR_MEM;

    if (value != NULL)
        (void)json_object_set_new(config, RESERVED, value);
    else
        (void)json_object_del(config, RESERVED);
    text = json_dumps(config, JSON_COMPACT);
    json_decref(config);
    if (text != NULL) {
        f->config.len = 0;
        buf_add(&f->config, text, strlen(text));
        err = registry_function_replace(c->registry, f, &msg);
    }
    free(text);
    if (err != BM_OK) {
        call_refuse_err(c, err, &msg);
        return false;
    }
    if (!call_commit(c))
        return false;
    lambda_limit(c->account->lambda, f->name);
    return true;
}

static json_t *
concurrency_json(const struct registry_function *f)
{
    json_t *value = call_function_reserved(f);

    return value != NULL ? json_pack("{s:o}", RESERVED, value) : json_object();
}

void
api_put_function_concurrency(struct call *c)
{
    int64_t count = body_number(c, RESERVED, -1);
    struct registry_function f;

    if (count > LAMBDA_RESERVED_MAX) {
        call_refuse_input(c,
            "Specified " RESERVED " for function decreases account's UnreservedConcurrentExecution "
            "below its minimum value of [%d]: want 0 to %d.",
            LAMBDA_CONCURRENT_MAX - LAMBDA_RESERVED_MAX, LAMBDA_RESERVED_MAX);
        return;
    }
    if (!call_function(c, &f))
        return;
    if (set_reserved(c, &f, json_integer(count)))
        call_reply_json(c, 200, concurrency_json(&f));
    registry_function_fini(&f);
}

void
api_get_function_concurrency(struct call *c)
{
    struct registry_function f;

    if (!call_function(c, &f))
        return;
    call_reply_json(c, 200, concurrency_json(&f));
    registry_function_fini(&f);
}

void
api_delete_function_concurrency(struct call *c)
{
    struct registry_function f;

    if (!call_function(c, &f))
        return;
    if (set_reserved(c, &f, NULL))
        call_reply_empty(c, 204);
    registry_function_fini(&f);
}
