/* SPDX-License-Identifier: Apache-2.0 */
/* See sql.h. One token at a time over a read cursor; a token knows where it began. */
#include "rules/sql.h"

#include "wire/mqtt.h"

#include <string.h>
#include <strings.h>

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_STAR, TOKEN_TEXT, TOKEN_OTHER, TOKEN_OPEN };

struct token {
    enum token_kind kind;
    struct span text; /* of TOKEN_TEXT: between the quotes */
    size_t at;        /* 1-based, for messages */
};

struct lexer {
    struct span in;
    size_t at; /* 0-based */
};

static const char *const built = "built is: SELECT * FROM 'topic filter'";

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
is_word(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static struct span
part(const struct lexer *l, size_t from, size_t to)
{
    return span_of(&l->in.ptr[from], to - from);
}

/* The text up to the same quote; without one the token is TOKEN_OPEN. */
static void
quoted(struct lexer *l, struct token *t)
{
    uint8_t quote = l->in.ptr[l->at++];
    size_t from = l->at;

    while (l->at < l->in.len && l->in.ptr[l->at] != quote)
        l->at++;
    t->text = part(l, from, l->at);
    t->kind = l->at < l->in.len ? TOKEN_TEXT : TOKEN_OPEN;
    if (t->kind == TOKEN_TEXT)
        l->at++;
}

static struct token
next(struct lexer *l)
{
    struct token t = { .kind = TOKEN_END };
    size_t from;

    while (l->at < l->in.len && is_blank(l->in.ptr[l->at]))
        l->at++;
    from = l->at;
    t.at = from + 1;
    if (from == l->in.len)
        return t;
    if (l->in.ptr[from] == '\'' || l->in.ptr[from] == '"') {
        quoted(l, &t);
        return t;
    }
    while (l->at < l->in.len && is_word(l->in.ptr[l->at]))
        l->at++;
    t.kind = TOKEN_WORD;
    if (l->at == from) {
        t.kind = l->in.ptr[from] == '*' ? TOKEN_STAR : TOKEN_OTHER;
        l->at++;
    }
    t.text = part(l, from, l->at);
    return t;
}

static bool
is_keyword(const struct token *t, const char *keyword)
{
    size_t len = strlen(keyword);

    return t->kind == TOKEN_WORD && t->text.len == len &&
           strncasecmp((const char *)t->text.ptr, keyword, len) == 0;
}

enum { SHOWN_MAX = 60 };

/* The token for a message: its start, printable, in one piece whatever the encoding. */
static const char *
shown(const struct token *t, char out[SHOWN_MAX + 1])
{
    size_t len = t->text.len < SHOWN_MAX ? t->text.len : SHOWN_MAX;

    for (size_t i = 0; i < len; i++) {
        uint8_t c = t->text.ptr[i];

        out[i] = (char)(c >= 0x20 && c < 0x7f ? c : '?');
    }
    out[len] = '\0';
    return out;
}

/* "character 8: 'temp' where '*' must be; built is: ..." */
static enum bm_err
wrong(const struct token *t, const char *wanted, struct bm_msg *msg)
{
    char text[SHOWN_MAX + 1];

    if (t->kind == TOKEN_END)
        return bm_fail(msg, BM_ERR_PROTO, "SQL ends at character %zu where %s must be; %s", t->at,
            wanted, built);
    return bm_fail(msg, BM_ERR_PROTO, "SQL, character %zu: '%s' where %s must be; %s", t->at,
        shown(t, text), wanted, built);
}

static enum bm_err
check_filter(const struct token *t, struct bm_msg *msg)
{
    char text[SHOWN_MAX + 1];

    if (t->kind == TOKEN_OPEN)
        return bm_fail(
            msg, BM_ERR_PROTO, "SQL, character %zu: the quote is not closed; %s", t->at, built);
    if (t->kind != TOKEN_TEXT)
        return wrong(t, "a quoted topic filter", msg);
    if (t->text.len == 0 || memchr(t->text.ptr, 0, t->text.len) != NULL ||
        !mqtt_filter_valid(t->text))
        return bm_fail(msg, BM_ERR_PROTO,
            "SQL, character %zu: '%s' is no topic filter; '+' stands for one whole level, '#' "
            "for "
            "all further ones at the end",
            t->at, shown(t, text));
    return BM_OK;
}

enum bm_err
sql_parse(struct span text, struct buf *filter, struct bm_msg *msg)
{
    struct lexer l = { text, 0 };
    struct token t = next(&l);
    struct token name;
    enum bm_err err;

    if (!is_keyword(&t, "SELECT"))
        return wrong(&t, "SELECT", msg);
    t = next(&l);
    if (t.kind != TOKEN_STAR)
        return wrong(&t, "'*' (no other selection is built)", msg);
    t = next(&l);
    if (!is_keyword(&t, "FROM"))
        return wrong(&t, "FROM", msg);
    name = next(&l);
    err = check_filter(&name, msg);
    if (err != BM_OK)
        return err;
    t = next(&l);
    if (is_keyword(&t, "WHERE"))
        return wrong(&t, "the end (WHERE is not built)", msg);
    if (t.kind != TOKEN_END)
        return wrong(&t, "the end", msg);
    buf_add(filter, name.text.ptr, name.text.len);
    return filter->failed ? BM_ERR_MEM : BM_OK;
}
