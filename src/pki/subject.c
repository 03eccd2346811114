/* SPDX-License-Identifier: Apache-2.0 */
/* See subject.h. */
#include "pki/subject.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char cure[] = "write it as /C=NL/O=Acme/CN=meter 7";

/* Up to one of `ends` that no backslash takes; false: too long, or a backslash at the end. */
static bool
take(const char **text, const char *ends, char out[SUBJECT_VALUE_MAX])
{
    const char *c = *text;
    size_t len = 0;

    for (; *c != '\0' && strchr(ends, *c) == NULL; c++) {
        if (*c == '\\')
            c++;
        if (*c == '\0' || len == SUBJECT_VALUE_MAX - 1)
            return false;
        out[len++] = *c;
    }
    out[len] = '\0';
    *text = c;
    return true;
}

static enum bm_err
parse_into(const char *text, X509_NAME *name, struct bm_msg *msg)
{
    char type[SUBJECT_VALUE_MAX];
    char value[SUBJECT_VALUE_MAX];
    bool joined = false;

    if (*text != '/')
        return bm_fail(msg, BM_ERR_INPUT, "the subject does not begin with /; %s", cure);
    while (*text != '\0') {
        text++;
        if (!take(&text, "=/+", type) || *text != '=')
            return bm_fail(msg, BM_ERR_INPUT, "the subject has a part without =; %s", cure);
        text++;
        if (!take(&text, "/+", value))
            return bm_fail(msg, BM_ERR_INPUT,
                "the subject ends with a backslash, or has a value of more than %d bytes",
                SUBJECT_VALUE_MAX - 1);
        if (X509_NAME_add_entry_by_txt(name, type, MBSTRING_UTF8, (const unsigned char *)value, -1,
                -1, joined ? -1 : 0) != 1)
            return bm_fail(msg, BM_ERR_INPUT,
                "'%.64s' is no name of a subject's part, or '%.64s' no value for it; %s", type,
                value, cure);
        joined = *text == '+';
    }
    return BM_OK;
}

enum bm_err
subject_parse(const char *text, X509_NAME **out, struct bm_msg *msg)
{
    X509_NAME *name = X509_NAME_new();
    enum bm_err err = name != NULL ? parse_into(text, name, msg) : BM_ERR_MEM;

    if (err != BM_OK) {
        X509_NAME_free(name);
        ERR_clear_error();
        return err;
    }
    *out = name;
    return BM_OK;
}
