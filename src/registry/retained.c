/* SPDX-License-Identifier: Apache-2.0 */
/* Topics that may have a retained message. SPEC aws-iot 1.3.7. */
#include "registry/store.h"

enum bm_err
registry_retained_set(
    struct registry *r, struct span topic, int64_t modified_ms, struct bm_msg *msg)
{
    static const char sql[] = "INSERT INTO retained(topic, modified) VALUES(?1, ?2)"
                              " ON CONFLICT(topic) DO UPDATE SET modified = excluded.modified";

    if (topic.len == 0 || topic.len > REGISTRY_TOPIC_MAX)
        return bm_fail(msg, BM_ERR_ARG, "a topic of %zu bytes", topic.len);
    return db_change(r, sql, ARGS(a_body(topic), a_int(modified_ms)), NULL, msg);
}

enum bm_err
registry_retained_forget(struct registry *r, struct span topic, struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM retained WHERE topic = ?1";

    return db_change(r, sql, ARGS(a_body(topic)), NULL, msg);
}

enum bm_err
registry_retained_time(
    struct registry *r, const char *topic, int64_t *modified_ms, struct bm_msg *msg)
{
    static const char sql[] = "SELECT modified FROM retained WHERE topic = ?1";

    return db_number(r, sql, ARGS(a_text(topic)), modified_ms, msg);
}

enum bm_err
registry_retained_list(struct registry *r, struct registry_page *page, registry_name_fn fn,
    void *arg, struct bm_msg *msg)
{
    static const char up[] = "SELECT row, topic FROM retained WHERE row > ?1 ORDER BY row LIMIT ?2";

    return page_names(r, page, 'e', up, NULL, 0, fn, arg, msg);
}
