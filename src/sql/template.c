/* SPDX-License-Identifier: Apache-2.0 */
/* Substitution templates: text with ${expression} in it (iot-substitution-templates). */
#include "sql/inside.h"

#include <stdlib.h>
#include <string.h>

struct part {
    struct span text;  /* of the template's copy */
    struct node *expr; /* behind the text; NULL at the end */
};

struct sql_template {
    char *text;
    struct sql owner; /* of the nodes */
    struct part *parts;
    size_t count;
};

static enum bm_err
add_part(struct sql_template *t, struct part part, struct bm_msg *msg)
{
    struct part *parts = realloc(t->parts, (t->count + 1) * sizeof *parts);

    if (parts == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    t->parts = parts;
    parts[t->count++] = part;
    return BM_OK;
}

static enum bm_err
parse_parts(struct sql_template *t, struct bm_msg *msg)
{
    struct lexer l = { span_str(t->text), 0 };

    for (;;) {
        const char *from = t->text + l.at;
        const char *open = strstr(from, "${");
        struct part part = { span_of(from, open != NULL ? (size_t)(open - from) : strlen(from)),
            NULL };
        enum bm_err err = BM_OK;

        if (open != NULL) {
            l.at = (size_t)(open + 2 - t->text);
            err = sql_parse_expression(&l, "}", t->owner.version, &t->owner, &part.expr, msg);
        }
        if (err == BM_OK)
            err = add_part(t, part, msg);
        if (err != BM_OK || open == NULL)
            return err;
    }
}

enum bm_err
sql_template_parse(
    const char *text, enum sql_version version, struct sql_template **out, struct bm_msg *msg)
{
    struct sql_template *t = calloc(1, sizeof *t);
    enum bm_err err = BM_ERR_MEM;

    *out = NULL;
    if (t != NULL) {
        t->owner.version = version;
        t->text = strdup(text);
        err = t->text != NULL ? parse_parts(t, msg) : bm_fail(msg, err, "out of memory");
    }
    if (err != BM_OK)
        sql_template_free(t);
    else
        *out = t;
    return err;
}

void
sql_template_free(struct sql_template *t)
{
    if (t == NULL)
        return;
    sql_free_nodes(&t->owner);
    free(t->parts);
    free(t->text);
    free(t);
}

enum bm_err
sql_template_run(
    const struct sql_template *t, struct sql_message *m, struct buf *out, struct bm_msg *msg)
{
    struct run r = { .m = m, .version = t->owner.version, .msg = msg };

    for (size_t i = 0; i < t->count; i++) {
        json_t *v =
            t->parts[i].expr != NULL ? run_eval(&r, t->parts[i].expr, message_json(m)) : NULL;
        bool fits;

        buf_add(out, t->parts[i].text.ptr, t->parts[i].text.len);
        fits = v == NULL || json_is_null(v) || value_text(v, r.version, out);
        json_decref(v);
        if (r.err != BM_OK)
            return r.err;
        if (!fits || out->len > SQL_RESULT_MAX)
            return bm_fail(msg, BM_ERR_LIMIT, "the text has more than 1 MB");
    }
    return out->failed ? BM_ERR_MEM : BM_OK;
}
