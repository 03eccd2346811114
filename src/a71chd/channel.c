/* SPDX-License-Identifier: Apache-2.0 */
/* See channel.h: a second server (server.h) on a backend of its own (backend_channel.c). */
#include "a71chd/channel.h"

#include "base/file.h"
#include "scp03/keyfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct channel {
    struct chips *chips;  /* borrowed; it has one chip */
    struct backend *chip; /* taken from there */
    struct chips *behind; /* the same behind the channel */
    struct server *server;
};

static enum bm_err
read_keys(const char *path, struct scp03_keys *keys, struct bm_msg *msg)
{
    struct buf text = { 0 };
    struct stat st;
    enum bm_err err;

    if (stat(path, &st) != 0)
        return bm_fail(msg, BM_ERR_IO, "%s: %s", path, strerror(errno));
    if ((st.st_mode & 077) != 0)
        return bm_fail(msg, BM_ERR_DENIED,
            "others may read the keys of the secure channel in %s (mode %03o); chmod 600 it", path,
            (unsigned)st.st_mode & 0777);
    err = file_read(path, SCP03_KEYFILE_MAX, &text, msg);
    if (err == BM_OK)
        err = scp03_keyfile_parse(buf_span(&text), keys, msg);
    if (text.ptr != NULL)
        bm_wipe(text.ptr, text.cap);
    buf_fini(&text);
    return err;
}

static enum bm_err
put_behind(
    struct channel *c, struct loop *loop, const struct channel_options *co, struct bm_msg *msg)
{
    struct scp03_keys keys;
    struct backend *b;
    enum bm_err err = read_keys(co->key_file, &keys, msg);

    if (err != BM_OK)
        return err;
    err = backend_channel_new(loop, c->chip, &keys, &b);
    bm_wipe(&keys, sizeof keys);
    if (err == BM_OK)
        err = chips_one(b, &c->behind);
    return err == BM_OK ? BM_OK : bm_fail(msg, err, "out of memory");
}

enum bm_err
channel_new(struct loop *loop, struct chips *chips, const struct server_options *o,
    const struct channel_options *co, struct channel **out, struct bm_msg *msg)
{
    struct server_options options = *o;
    struct channel *c = calloc(1, sizeof *c);
    enum bm_err err;

    *out = NULL;
    if (c == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    c->chips = chips;
    options.group = co->group;
    err = strncmp(co->address, "unix:", 5) == 0
              ? chips_take(chips, 0, &c->chip, msg)
              : bm_fail(msg, BM_ERR_ARG,
                    "--channel %s: want unix:PATH, where it is known who connects", co->address);
    if (err == BM_OK)
        err = put_behind(c, loop, co, msg);
    if (err == BM_OK && server_new(loop, c->behind, &options, &c->server) != BM_OK)
        err = bm_fail(msg, BM_ERR_MEM, "out of memory");
    if (err == BM_OK)
        err = server_listen(c->server, co->address, msg);
    if (err != BM_OK) {
        channel_free(c);
        return err;
    }
    *out = c;
    return BM_OK;
}

void
channel_free(struct channel *c)
{
    if (c == NULL)
        return;
    server_free(c->server);
    chips_free(c->behind);
    if (c->chip != NULL)
        chips_release(c->chips, 0);
    free(c);
}
