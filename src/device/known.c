/* SPDX-License-Identifier: Apache-2.0 */
/* See known.h. */
#include "device/known.h"

#include "base/file.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 4096, FILE_MODE = 0600 };

static bool
path_of(const char *dir, char out[PATH_MAX])
{
    return snprintf(out, PATH_MAX, "%s/known.json", dir) < PATH_MAX;
}

static void
take_id(const json_t *root, const char *name, char out[65])
{
    const char *text = json_string_value(json_object_get(root, name));
    uint8_t id[32];

    if (text != NULL && hex_decode(id, sizeof id, span_str(text)) == BM_OK)
        (void)snprintf(out, 65, "%s", text);
}

enum bm_err
known_parse(struct span text, struct known *k, struct bm_msg *msg)
{
    json_error_t error;
    json_t *root = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    json_int_t passed = json_integer_value(json_object_get(root, "passed"));

    *k = (struct known){ 0 };
    if (!json_is_object(root)) {
        json_decref(root);
        return bm_fail(msg, BM_ERR_INPUT, "damaged: %s", error.text);
    }
    if (passed > 0)
        k->passed_ms = passed;
    take_id(root, "admitted", k->admitted);
    take_id(root, "server", k->server_id);
    json_decref(root);
    return BM_OK;
}

enum bm_err
known_read(const char *dir, struct known *k, struct bm_msg *msg)
{
    char path[PATH_MAX];
    struct bm_msg why = { { 0 } };
    struct buf text = { 0 };
    enum bm_err err;

    *k = (struct known){ 0 };
    if (!path_of(dir, path) || access(path, F_OK) != 0)
        return BM_OK;
    err = file_read(path, FILE_MAX, &text, msg);
    if (err == BM_OK && known_parse(buf_span(&text), k, &why) != BM_OK)
        err = bm_fail(msg, BM_ERR_INPUT, "%s is %s", path, why.text);
    buf_fini(&text);
    return err;
}

enum bm_err
known_write(const char *dir, const struct known *k, struct bm_msg *msg)
{
    char path[PATH_MAX];
    struct buf text = { 0 };
    enum bm_err err = dir_make(dir, 0700, msg);

    buf_addf(&text, "{\"passed\":%lld,\"admitted\":\"%s\",\"server\":\"%s\"}\n",
        (long long)k->passed_ms, k->admitted, k->server_id);
    if (err == BM_OK && (text.failed || !path_of(dir, path)))
        err = bm_fail(msg, BM_ERR_MEM, "the path of the state folder is too long");
    if (err == BM_OK)
        err = file_write(path, buf_span(&text), FILE_MODE, msg);
    buf_fini(&text);
    return err;
}
