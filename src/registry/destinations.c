/* SPDX-License-Identifier: Apache-2.0 */
/* Topic rule destinations: where rules may POST to, once the receiver confirmed. SPEC
 * aws-iot 1.3.5, 5.3. */
#include "registry/store.h"

#include "base/clock.h"

#include <string.h>

#define COLUMNS "row, id, url, status, token, created, modified, reason"

static const char *const status_names[] = { "IN_PROGRESS", "ENABLED", "DISABLED", "ERROR" };

const char *
destination_status_name(enum destination_status status)
{
    return status_names[status];
}

bool
destination_status_of(const char *name, enum destination_status *out)
{
    for (size_t i = 0; i < sizeof status_names / sizeof *status_names; i++) {
        if (strcmp(name, status_names[i]) == 0) {
            *out = (enum destination_status)i;
            return true;
        }
    }
    return false;
}

static enum bm_err
destination_row(void *to, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct registry_destination *d = to;

    (void)msg;
    *d = (struct registry_destination){ .status =
                                            (enum destination_status)sqlite3_column_int(st, 3) };
    col_text(st, 1, d->id, sizeof d->id);
    col_text(st, 2, d->url, sizeof d->url);
    if ((unsigned)d->status > DESTINATION_ERROR)
        d->status = DESTINATION_ERROR;
    col_text(st, 4, d->token, sizeof d->token);
    d->created_ms = sqlite3_column_int64(st, 5);
    d->modified_ms = sqlite3_column_int64(st, 6);
    col_text(st, 7, d->reason, sizeof d->reason);
    return BM_OK;
}

static enum bm_err
make_token(char out[DESTINATION_TOKEN_LEN + 1], struct bm_msg *msg)
{
    uint8_t raw[DESTINATION_TOKEN_LEN / 2];
    enum bm_err err = store_random(raw, sizeof raw, msg);

    if (err == BM_OK)
        hex_encode(out, raw, sizeof raw);
    bm_wipe(raw, sizeof raw);
    return err;
}

enum bm_err
registry_destination_create(struct registry *r, struct registry_destination *d, struct bm_msg *msg)
{
    static const char sql[] =
        "INSERT INTO destinations(id, url, status, token, created, modified, reason)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?5, ?6) ON CONFLICT DO NOTHING";
    uint8_t id[UUID_LEN];
    int changes = 0;
    enum bm_err err = BM_OK;

    if (d->url[0] == '\0')
        return bm_fail(msg, BM_ERR_ARG, "a destination without a confirmation URL");
    if (d->id[0] == '\0' && (err = store_uuid(id, msg)) == BM_OK)
        uuid_text(d->id, id);
    d->token[0] = '\0';
    if (err == BM_OK && d->status == DESTINATION_IN_PROGRESS)
        err = make_token(d->token, msg);
    d->created_ms = d->modified_ms = clock_wall_ms();
    if (err == BM_OK)
        err = db_change(r, sql,
            ARGS(a_text(d->id), a_text(d->url), a_int(d->status), a_text(d->token),
                a_int(d->created_ms), a_text(d->reason)),
            &changes, msg);
    if (err == BM_OK && changes == 0)
        err = bm_fail(msg, BM_ERR_EXISTS,
            "there is a destination with the confirmation URL '%.200s' already", d->url);
    return err;
}

static enum bm_err
found(enum bm_err err, struct bm_msg *msg)
{
    return err == BM_ERR_NOT_FOUND ? bm_fail(msg, err, "no such topic rule destination") : err;
}

/* `sql` finds it by the text `key`. */
static enum bm_err
get(struct registry *r, const char *sql, const char *key, struct registry_destination *out,
    struct bm_msg *msg)
{
    *out = (struct registry_destination){ 0 };
    return found(db_one(r, sql, ARGS(a_text(key)), destination_row, out, msg), msg);
}

enum bm_err
registry_destination_get(
    struct registry *r, const char *id, struct registry_destination *out, struct bm_msg *msg)
{
    return get(r, "SELECT " COLUMNS " FROM destinations WHERE id = ?1", id, out, msg);
}

enum bm_err
registry_destination_of_url(
    struct registry *r, const char *url, struct registry_destination *out, struct bm_msg *msg)
{
    return get(r, "SELECT " COLUMNS " FROM destinations WHERE url = ?1", url, out, msg);
}

enum bm_err
registry_destination_of_token(
    struct registry *r, const char *token, struct registry_destination *out, struct bm_msg *msg)
{
    /* as its index, which lacks those that are spent */
    static const char sql[] =
        "SELECT " COLUMNS " FROM destinations WHERE token = ?1 AND token <> ''";

    return get(r, sql, token, out, msg);
}

enum bm_err
registry_destination_set_status(struct registry *r, const char *id, enum destination_status status,
    const char *reason, struct bm_msg *msg)
{
    /* what failed may still be confirmed with the token that was sent */
    static const char sql[] = "UPDATE destinations SET status = ?2, reason = ?3, modified = ?4,"
                              " token = CASE ?2 WHEN 3 THEN token ELSE ?5 END WHERE id = ?1";
    char token[DESTINATION_TOKEN_LEN + 1] = "";
    int changes = 0;
    enum bm_err err = BM_OK;

    if (status == DESTINATION_IN_PROGRESS)
        err = make_token(token, msg);
    if (err == BM_OK)
        err = db_change(r, sql,
            ARGS(a_text(id), a_int(status), a_text(reason), a_int(clock_wall_ms()), a_text(token)),
            &changes, msg);
    bm_wipe(token, sizeof token);
    return err == BM_OK && changes == 0 ? found(BM_ERR_NOT_FOUND, msg) : err;
}

enum bm_err
registry_destination_delete(struct registry *r, const char *id, struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM destinations WHERE id = ?1";
    int changes = 0;
    enum bm_err err = db_change(r, sql, ARGS(a_text(id)), &changes, msg);

    return err == BM_OK && changes == 0 ? found(BM_ERR_NOT_FOUND, msg) : err;
}

struct list_to {
    registry_destination_fn fn;
    void *arg;
};

static enum bm_err
list_item(void *arg, sqlite3_stmt *st, struct bm_msg *msg)
{
    const struct list_to *to = arg;
    struct registry_destination d;
    enum bm_err err = destination_row(&d, st, msg);

    if (err == BM_OK)
        to->fn(to->arg, &d);
    return err;
}

enum bm_err
registry_destination_list(struct registry *r, struct registry_page *page,
    registry_destination_fn fn, void *arg, struct bm_msg *msg)
{
    static const char up[] =
        "SELECT " COLUMNS " FROM destinations WHERE row > ?1 ORDER BY row LIMIT ?2";
    static const char there[] = "SELECT count(*) FROM sqlite_master WHERE name = 'destinations'";
    static const struct page_query query = { .list = 'd', .ascending = up };
    struct list_to to = { fn, arg };
    int64_t tables = 1;
    enum bm_err err = BM_OK;

    page->ascending = true;
    if (r->read_only) /* a file of an older version is read as it is */
        err = db_number(r, there, NULL, 0, &tables, msg);
    page->next_marker[0] = '\0';
    return err == BM_OK && tables > 0 ? page_run(r, page, &query, list_item, &to, msg) : err;
}
