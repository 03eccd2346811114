/* SPDX-License-Identifier: Apache-2.0 */
/* See credentials.h. */
#include "birthmark/credentials.h"

#include "base/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { FILE_LEN_MAX = 64 * 1024 };

const char ACCOUNT_DEFAULT[ACCOUNT_LEN + 1] = "000000000000";

bool
account_is_sound(const char *text)
{
    return strlen(text) == ACCOUNT_LEN && strspn(text, "0123456789") == ACCOUNT_LEN;
}

/* ---- reading ---- */

static enum bm_err
read_line(
    const char *path, size_t number, const char *line, struct credentials *out, struct bm_msg *msg)
{
    struct credential k = { .account = "" };
    char more;
    int fields;

    if (line[0] == '\0' || line[0] == '#')
        return BM_OK;
    fields = sscanf(line, "%128s %128s %12s %c", k.access_key, k.secret_key, k.account, &more);
    if (fields == 2)
        memcpy(k.account, ACCOUNT_DEFAULT, sizeof k.account);
    if (fields < 2 || fields > 3 || !account_is_sound(k.account))
        return bm_fail(msg, BM_ERR_INPUT,
            "%s, line %zu: want ACCESS-KEY SECRET-KEY [ACCOUNT of 12 digits]; mend it, or make the "
            "account's key again with --new-credentials",
            path, number);
    if (out->count == CREDENTIALS_MAX)
        return bm_fail(
            msg, BM_ERR_LIMIT, "%s has more than %d keys; remove some", path, CREDENTIALS_MAX);
    for (size_t i = 0; i < out->count; i++) {
        if (strcmp(out->keys[i].access_key, k.access_key) == 0)
            return bm_fail(msg, BM_ERR_INPUT,
                "%s, line %zu: the access key %s is there twice; remove one", path, number,
                k.access_key);
    }
    out->keys[out->count++] = k;
    return BM_OK;
}

enum bm_err
credentials_read(const char *path, struct credentials *out, struct bm_msg *msg)
{
    struct buf b = { 0 };
    size_t number = 0;
    enum bm_err err;

    *out = (struct credentials){ .keys = { { "test", "test", "" } }, .count = 1 };
    memcpy(out->keys[0].account, ACCOUNT_DEFAULT, sizeof ACCOUNT_DEFAULT);
    if (access(path, F_OK) != 0)
        return BM_OK;
    out->made = true;
    out->count = 0;
    err = file_read(path, FILE_LEN_MAX, &b, msg);
    if (err == BM_OK && buf_cstr(&b) == NULL)
        err = bm_fail(msg, BM_ERR_INPUT, "%s is no text", path);
    for (char *at = (char *)b.ptr; err == BM_OK && at != NULL;) {
        char *end = strchr(at, '\n');

        if (end != NULL)
            *end++ = '\0';
        err = read_line(path, ++number, at, out, msg);
        at = end;
    }
    if (err == BM_OK && out->count == 0)
        err = bm_fail(msg, BM_ERR_INPUT, "%s has no key; make one with --new-credentials", path);
    bm_wipe(b.ptr, b.len);
    buf_fini(&b);
    return err;
}

/* ---- making ---- */

static enum bm_err
make_key(const char *account, struct credential *out, struct bm_msg *msg)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint8_t seed[16 + 20];

    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return bm_fail(msg, BM_ERR_IO, "getrandom: %s", strerror(errno));
    *out = (struct credential){ .access_key = "AKIA" };
    for (size_t i = 0; i < 16; i++)
        out->access_key[4 + i] = letters[seed[i] & 31];
    hex_encode(out->secret_key, seed + 16, 20);
    (void)snprintf(out->account, sizeof out->account, "%s", account);
    bm_wipe(seed, sizeof seed);
    return BM_OK;
}

static void
add_line(struct buf *text, const struct credential *k)
{
    buf_addf(text, "%s %s %s\n", k->access_key, k->secret_key, k->account);
}

enum bm_err
credentials_make(const char *path, const char *account, struct credential *out, struct bm_msg *msg)
{
    struct credentials old;
    struct buf text = { 0 };
    bool written = false;
    enum bm_err err = credentials_read(path, &old, msg);

    if (err == BM_OK)
        err = make_key(account, out, msg);
    for (size_t i = 0; err == BM_OK && old.made && i < old.count; i++) {
        bool same = strcmp(old.keys[i].account, account) == 0;

        if (!same || !written)
            add_line(&text, same ? out : &old.keys[i]);
        written = written || same;
    }
    if (err == BM_OK && !written)
        add_line(&text, out);
    if (err == BM_OK)
        err = text.failed ? bm_fail(msg, BM_ERR_MEM, "out of memory")
                          : file_write(path, buf_span(&text), 0600, msg);
    bm_wipe(&old, sizeof old);
    bm_wipe(text.ptr, text.len);
    buf_fini(&text);
    return err;
}

/* ---- accounts ---- */

enum bm_err
credentials_accounts(const struct credentials *c, struct account_place *accounts,
    size_t *account_count, struct api_key *keys, struct bm_msg *msg)
{
    size_t count = 0;

    for (size_t i = 0; i < c->count; i++) {
        const struct credential *k = &c->keys[i];
        size_t at = 0;

        while (at < count && strcmp(accounts[at].number, k->account) != 0)
            at++;
        if (at == ACCOUNTS_MAX)
            return bm_fail(msg, BM_ERR_LIMIT,
                "the credentials are of more than %d accounts; remove some", ACCOUNTS_MAX);
        if (at == count)
            accounts[count++] = (struct account_place){ .number = k->account };
        keys[i] = (struct api_key){ k->access_key, k->secret_key, at };
    }
    *account_count = count;
    return BM_OK;
}
