/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The account's settings: which registry events are wanted, and what would be logged. SPEC aws-iot
 * 1.3.6. They are kept and given back; the log here is that of `birthmark cloud --log`, and
 * registry events other than those of certificates are not published.
 */
#include "api/internal.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

/* A new object, empty when nothing was set; NULL: refused. */
static json_t *
setting(struct call *c, const char *key)
{
    struct buf b = { 0 };
    struct bm_msg msg;
    enum bm_err err = registry_setting_get(c->registry, key, &b, &msg);
    json_t *value = NULL;

    if (err == BM_OK)
        value = json_loadb((const char *)b.ptr, b.len, 0, NULL);
    else if (err == BM_ERR_NOT_FOUND)
        value = json_object();
    if (value == NULL)
        call_refuse_err(c, err != BM_OK ? err : BM_ERR_INTERNAL, &msg);
    buf_fini(&b);
    return value;
}

/* Takes `value`. */
static void
set(struct call *c, const char *key, json_t *value)
{
    struct buf b = { 0 };
    struct bm_msg msg = { "out of memory for a setting; try again" };
    enum bm_err err = BM_ERR_MEM;

    if (json_into(value, &b))
        err = registry_setting_put(c->registry, key, buf_span(&b), &msg);
    json_decref(value);
    buf_fini(&b);
    call_finish(c, err, &msg);
}

/* ---- event configurations ---- */

static const char *const EVENTS[] = { "THING", "THING_GROUP", "THING_TYPE",
    "THING_GROUP_MEMBERSHIP", "THING_GROUP_HIERARCHY", "THING_TYPE_ASSOCIATION", "JOB",
    "JOB_EXECUTION", "POLICY", "CERTIFICATE", "CA_CERTIFICATE" };

void
api_describe_event_configurations(struct call *c)
{
    json_t *stored = setting(c, "events");
    json_t *all = json_object();
    json_t *body;

    if (stored == NULL) {
        json_decref(all);
        return;
    }
    for (size_t i = 0; i < sizeof EVENTS / sizeof EVENTS[0]; i++)
        (void)json_object_set_new(all, EVENTS[i], json_pack("{s:b}", "Enabled", 0));
    (void)json_object_update(all, json_object_get(stored, "configurations"));
    body = json_pack("{s:o}", "eventConfigurations", all);
    if (json_object_get(stored, "created") != NULL) {
        (void)json_object_set_new(body, "creationDate",
            json_time(json_integer_value(json_object_get(stored, "created"))));
        (void)json_object_set_new(body, "lastModifiedDate",
            json_time(json_integer_value(json_object_get(stored, "modified"))));
    }
    json_decref(stored);
    call_reply_json(c, 200, body);
}

void
api_update_event_configurations(struct call *c)
{
    json_t *stored = setting(c, "events");
    json_t *now = json_integer(clock_wall_ms());
    json_t *configurations;

    if (stored != NULL) {
        configurations = json_object_get(stored, "configurations");
        if (configurations == NULL) {
            configurations = json_object();
            (void)json_object_set_new(stored, "configurations", configurations);
            (void)json_object_set(stored, "created", now);
        }
        (void)json_object_update(configurations, json_object_get(c->body, "eventConfigurations"));
        (void)json_object_set(stored, "modified", now);
        set(c, "events", stored);
    }
    json_decref(now);
}

/* ---- logging ---- */

void
api_set_logging_options(struct call *c)
{
    json_t *value = json_object();

    (void)json_object_set(value, "roleArn", json_object_get(c->body, "roleArn"));
    (void)json_object_set(value, "logLevel", json_object_get(c->body, "logLevel"));
    set(c, "logging", value);
}

void
api_get_logging_options(struct call *c)
{
    json_t *value = setting(c, "logging");

    if (value != NULL)
        call_reply_json(c, 200, value);
}

void
api_set_v2_logging_options(struct call *c)
{
    static const char *const members[] = { "roleArn", "defaultLogLevel", "disableAllLogs" };
    json_t *value = setting(c, "v2logging");

    if (value == NULL)
        return;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        json_t *given = json_object_get(c->body, members[i]);

        if (given != NULL && !json_is_null(given))
            (void)json_object_set(value, members[i], given);
    }
    set(c, "v2logging", value);
}

/* The setting when SetV2LoggingOptions was called, else refused: NotConfiguredException. */
static json_t *
configured(struct call *c)
{
    json_t *value = setting(c, "v2logging");

    if (value == NULL || json_object_size(value) > 0)
        return value;
    json_decref(value);
    call_refuse(c, NOT_CONFIGURED,
        "Logging is not configured; set it with SetV2LoggingOptions (aws iot "
        "set-v2-logging-options).");
    return NULL;
}

void
api_get_v2_logging_options(struct call *c)
{
    json_t *value = configured(c);
    json_t *level;

    if (value == NULL)
        return;
    level = json_object_get(value, "defaultLogLevel");
    call_reply_json(c, 200,
        json_pack("{s:O*,s:o,s:b}", "roleArn", json_object_get(value, "roleArn"), "defaultLogLevel",
            level != NULL ? json_incref(level) : json_string("DISABLED"), "disableAllLogs",
            json_is_true(json_object_get(value, "disableAllLogs"))));
    json_decref(value);
}

/* Levels are kept by "TYPE name". */
static json_t *
level_key(const char *type, const char *name)
{
    return json_sprintf("%s %s", type, name != NULL ? name : "");
}

void
api_set_v2_logging_level(struct call *c)
{
    json_t *target = json_object_get(c->body, "logTarget");
    const char *name = json_string_value(json_object_get(target, "targetName"));
    const char *type = json_string_value(json_object_get(target, "targetType"));
    json_t *options = configured(c);
    json_t *levels = options != NULL ? setting(c, "v2levels") : NULL;
    json_t *key = level_key(type, name);

    json_decref(options);
    if (levels != NULL && name == NULL && strcmp(type, "DEFAULT") != 0) {
        call_refuse_input(c,
            "logTarget.targetName is missing, already a target of type %s needs "
            "one.",
            type);
        json_decref(levels);
    } else if (levels != NULL) {
        (void)json_object_set_new(levels, json_string_value(key),
            json_pack("{s:O,s:O}", "logTarget", target, "logLevel",
                json_object_get(c->body, "logLevel")));
        set(c, "v2levels", levels);
    }
    json_decref(key);
}

/* The token is the last key of the page before. */
void
api_list_v2_logging_levels(struct call *c)
{
    const char *type = param_text(c, "targetType");
    const char *after = param_text(c, "nextToken");
    int64_t limit = param_number(c, "maxResults", 25);
    json_t *options = configured(c);
    json_t *levels = options != NULL ? setting(c, "v2levels") : NULL;
    json_t *items = json_array();
    json_t *body = json_pack("{s:O}", "logTargetConfigurations", items);
    const char *last = NULL;
    const char *key;
    json_t *value;

    json_object_foreach(levels, key, value) /* sorted, as json_into stored them */
    {
        const char *of =
            json_string_value(json_object_get(json_object_get(value, "logTarget"), "targetType"));

        if ((type != NULL && strcmp(type, of) != 0) || (after != NULL && strcmp(key, after) <= 0))
            continue;
        if ((int64_t)json_array_size(items) == limit) {
            (void)json_object_set_new(body, "nextToken", json_string(last));
            break;
        }
        last = key;
        (void)json_array_append(items, value);
    }
    json_decref(items);
    if (levels != NULL)
        call_reply_json(c, 200, body);
    else
        json_decref(body);
    json_decref(levels);
    json_decref(options);
}

void
api_delete_v2_logging_level(struct call *c)
{
    json_t *key = level_key(param_text(c, "targetType"), param_text(c, "targetName"));
    json_t *levels = setting(c, "v2levels");

    if (levels != NULL) {
        (void)json_object_del(levels, json_string_value(key));
        set(c, "v2levels", levels);
    }
    json_decref(key);
}
