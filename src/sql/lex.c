/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of the SQL: words, numbers, quoted texts, signs. There are no comments (SPEC aws-iot 5.1).
 */
#include "sql/inside.h"

#include <string.h>
#include <strings.h>

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool
is_word(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';
}

static uint8_t
peek(const struct lexer *l, size_t ahead)
{
    return l->in.len - l->at > ahead ? l->in.ptr[l->at + ahead] : 0;
}

static void
skip_digits(struct lexer *l)
{
    while (is_digit(peek(l, 0)))
        l->at++;
}

static void
number(struct lexer *l)
{
    skip_digits(l);
    if (peek(l, 0) == '.' && is_digit(peek(l, 1))) {
        l->at++;
        skip_digits(l);
    }
    if (peek(l, 0) == 'e' || peek(l, 0) == 'E') {
        size_t sign = peek(l, 1) == '-' || peek(l, 1) == '+';

        if (is_digit(peek(l, 1 + sign))) {
            l->at += 1 + sign;
            skip_digits(l);
        }
    }
}

/* To the same quote; a doubled one stands for itself. */
static bool
quoted(struct lexer *l, struct token *t)
{
    uint8_t quote = l->in.ptr[l->at++];
    size_t from = l->at;

    for (; l->at < l->in.len; l->at++) {
        if (l->in.ptr[l->at] != quote)
            continue;
        if (peek(l, 1) != quote)
            break;
        l->at++;
    }
    t->text = span_of(&l->in.ptr[from], l->at - from);
    if (l->at == l->in.len)
        return false;
    l->at++;
    return true;
}

struct token
lex_next(struct lexer *l)
{
    struct token t = { .kind = TOKEN_END };
    uint8_t c;
    size_t from;

    while (l->at < l->in.len && memchr(" \t\r\n", l->in.ptr[l->at], 4) != NULL)
        l->at++;
    from = l->at;
    t.at = from + 1;
    if (from == l->in.len)
        return t;
    c = l->in.ptr[from];
    if (c == '\'' || c == '"') {
        t.kind = quoted(l, &t) ? TOKEN_TEXT : TOKEN_OPEN;
        return t;
    }
    if (is_digit(c)) {
        t.kind = TOKEN_NUMBER;
        number(l);
    } else if (is_word(c)) {
        t.kind = TOKEN_WORD;
        while (is_word(peek(l, 0)))
            l->at++;
    } else {
        t.kind = c != 0 && strchr("*,.(){}[]:=<>+-/%", c) != NULL ? TOKEN_SIGN : TOKEN_BAD;
        l->at++;
        if ((c == '<' && (peek(l, 0) == '=' || peek(l, 0) == '>')) ||
            (c == '>' && peek(l, 0) == '='))
            l->at++;
    }
    t.text = span_of(&l->in.ptr[from], l->at - from);
    return t;
}

bool
token_is(const struct token *t, const char *word_or_sign)
{
    size_t len = strlen(word_or_sign);

    return (t->kind == TOKEN_WORD || t->kind == TOKEN_SIGN) && t->text.len == len &&
           strncasecmp((const char *)t->text.ptr, word_or_sign, len) == 0;
}

const char *
token_shown(const struct token *t, char out[TOKEN_SHOWN_MAX + 1])
{
    size_t len = t->text.len < TOKEN_SHOWN_MAX ? t->text.len : TOKEN_SHOWN_MAX;

    for (size_t i = 0; i < len; i++) {
        uint8_t c = t->text.ptr[i];

        out[i] = (char)(c >= 0x20 && c < 0x7f ? c : '?');
    }
    out[len] = '\0';
    return out;
}
