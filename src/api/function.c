/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lambda functions: create, read, change, delete. SPEC aws-iot 5.5.
 *
 * A function's configuration is kept as the JSON members of SETTINGS plus CodeSize; the lambda room
 * checks what they say. Members that would change how a function runs and are not built are
 * refused, not forgotten.
 */
#include "api/internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME_MAX_LEN = 64,
    ZIP_TEXT_MAX = LAMBDA_ZIP_MAX / 3 * 4 + 8,
    PAGE_DEFAULT = 50,
};

static const char *const SETTINGS[] = { "Runtime", "Handler", "Role", "Description", "Timeout",
    "MemorySize", "Environment", NULL };

static const char *const NOT_BUILT_SETTINGS[] = { "Layers", "VpcConfig", "DeadLetterConfig",
    "KMSKeyArn", "FileSystemConfigs", "ImageConfig", "CodeSigningConfigArn", "SnapStart",
    "TracingConfig", "EphemeralStorage", "LoggingConfig", "Tags", "Publish", "RevisionId", NULL };

static const char *const NOT_BUILT_CODE[] = { "S3Bucket", "S3Key", "S3ObjectVersion", "ImageUri",
    "Publish", "DryRun", "RevisionId", NULL };

#if defined(__aarch64__)
static const char MACHINE[] = "arm64";
#else
static const char MACHINE[] = "x86_64";
#endif

struct arn
call_function_arn(const struct call *c, const char *name)
{
    struct arn a;

    (void)snprintf(a.text, sizeof a.text, "arn:aws:lambda:%s:%s:function:%s",
        c->api->options.region, c->account->number, name);
    return a;
}

/* ---- which function ---- */

static bool
check_qualifier(struct call *c)
{
    const char *text = param_text(c, "Qualifier");

    if (text == NULL || strcmp(text, "$LATEST") == 0)
        return true;
    call_refuse(c, NOT_FOUND,
        "There is no version or alias '%.100s'; versions and aliases are not built here, only "
        "$LATEST.",
        text);
    return false;
}

bool
call_function(struct call *c, struct registry_function *out)
{
    char name[REGISTRY_NAME_MAX + 1];
    struct bm_msg msg;
    enum bm_err err = BM_ERR_NOT_FOUND;

    *out = (struct registry_function){ 0 };
    if (!check_qualifier(c))
        return false;
    if (lambda_name_of(call_label(c, 0), name))
        err = registry_function_get(c->registry, name, out, &msg);
    if (err == BM_OK)
        return true;
    if (err == BM_ERR_NOT_FOUND)
        call_refuse(c, NOT_FOUND, "Function not found: %.200s", call_label(c, 0));
    else
        call_refuse_err(c, err, &msg);
    return false;
}

/* ---- as JSON ---- */

static json_t *
last_modified(int64_t ms)
{
    char text[CLOCK_TEXT_LEN + 8];
    char *zone;

    clock_text(text, ms);
    zone = strchr(text, 'Z');
    (void)snprintf(zone, 6, "+0000"); /* SPEC aws-iot 1.1 */
    return json_string(text);
}

static json_t *
function_json(const struct call *c, const struct registry_function *f)
{
    json_t *body = json_loadb((const char *)f->config.ptr, f->config.len, 0, NULL);
    struct buf hash = { 0 };
    json_t *more;

    (void)!base64_encode(&hash, span_of(f->code_sha256, sizeof f->code_sha256));
    more =
        json_pack("{s:s,s:s,s:o,s:o,s:s,s:s,s:s,s:s,s:[s]}", "FunctionName", f->name, "FunctionArn",
            call_function_arn(c, f->name).text, "LastModified", last_modified(f->modified_ms),
            "CodeSha256", json_span(buf_span(&hash)), "Version", "$LATEST", "State", "Active",
            "LastUpdateStatus", "Successful", "PackageType", "Zip", "Architectures", MACHINE);
    buf_fini(&hash);
    if (body == NULL || more == NULL || json_object_update(body, more) != 0) {
        json_decref(body);
        body = NULL;
    }
    json_decref(more);
    (void)json_object_del(body, RESERVED); /* is no part of the configuration */
    return body;
}

json_t *
call_function_reserved(const struct registry_function *f)
{
    json_t *config = json_loadb((const char *)f->config.ptr, f->config.len, 0, NULL);
    json_t *value = json_incref(json_object_get(config, RESERVED));

    json_decref(config);
    return value;
}

/* As it is in the registry, which sets LastModified. */
static json_t *
stored_json(const struct call *c, const char *name)
{
    struct registry_function f = { 0 };
    json_t *body = NULL;

    if (registry_function_get(c->registry, name, &f, NULL) == BM_OK)
        body = function_json(c, &f);
    registry_function_fini(&f);
    return body;
}

/* ---- what the request sets ---- */

static bool
check_architectures(struct call *c)
{
    json_t *list = json_object_get(c->body, "Architectures");
    const char *type;

    if (json_array_size(list) > 0 &&
        (json_array_size(list) != 1 || !json_is_string(json_array_get(list, 0)) ||
            strcmp(json_string_value(json_array_get(list, 0)), MACHINE) != 0)) {
        call_refuse_input(
            c, "Functions run on this machine, whose architecture is %s only.", MACHINE);
        return false;
    }
    if (!call_text(c, "PackageType", false, 16, &type))
        return false;
    if (type == NULL || strcmp(type, "Zip") == 0)
        return true;
    call_refuse(c, NOT_BUILT, "PackageType %s is not built here; use Zip.", type);
    return false;
}

static bool
check_role(struct call *c, bool required)
{
    const char *role;

    if (!call_text(c, "Role", required, 256, &role))
        return false;
    if (role == NULL || (strncmp(role, "arn:aws", 7) == 0 && strstr(role, ":iam::") != NULL &&
                            strstr(role, ":role/") != NULL))
        return true;
    call_refuse_input(c,
        "Role is '%s'; want arn:aws:iam::ACCOUNT:role/NAME (any account and name: "
        "roles are not looked at here).",
        role);
    return false;
}

/* The types here; what the values mean is the lambda room's to check. */
static bool
check_settings(struct call *c, bool creating)
{
    const char *text;
    json_t *environment;

    return call_without(c, NOT_BUILT_SETTINGS) && check_architectures(c) &&
           call_text(c, "Runtime", false, 64, &text) &&
           call_text(c, "Handler", false, 128, &text) && check_role(c, creating) &&
           call_text(c, "Description", false, 256, &text) &&
           call_object(c, "Environment", false, &environment);
}

static void
take_settings(const struct call *c, json_t *config)
{
    for (size_t i = 0; SETTINGS[i] != NULL; i++) {
        json_t *value = json_object_get(c->body, SETTINGS[i]);

        if (value != NULL && !json_is_null(value))
            (void)json_object_set(config, SETTINGS[i], value);
    }
}

static bool
set_config(struct call *c, struct registry_function *f, json_t *config)
{
    char *text = json_dumps(config, JSON_COMPACT);

    f->config.len = 0;
    if (text != NULL)
        buf_add(&f->config, text, strlen(text));
    free(text);
    if (f->config.len > 0 && !f->config.failed)
        return true;
    call_refuse(c, UNAVAILABLE, "Out of memory for the configuration; try again.");
    return false;
}

/* The package in the member ZipFile of `from`, base64. */
static bool
read_zip(struct call *c, json_t *from, struct span *base64)
{
    json_t *text = json_object_get(from, "ZipFile");

    if (!json_is_string(text)) {
        call_refuse_input(c,
            "The member 'ZipFile' is missing; give the package itself (with the aws "
            "CLI: --zip-file fileb://PATH).");
        return false;
    }
    if (json_string_length(text) > ZIP_TEXT_MAX) {
        call_refuse(c, REQUEST_TOO_LARGE, "The package is above %d bytes.", LAMBDA_ZIP_MAX);
        return false;
    }
    *base64 = span_of(json_string_value(text), json_string_length(text));
    if (base64->len > 0)
        return true;
    call_refuse_input(c, "The member 'ZipFile' is empty.");
    return false;
}

static void
refuse_code(struct call *c, enum bm_err err, const struct bm_msg *msg)
{
    if (err == BM_ERR_LIMIT)
        call_refuse(c, TOO_MANY_REQUESTS, "%s", msg->text);
    else
        call_refuse_err(c, err, msg);
}

/*
 * Let the lambda room check configuration and package, which takes time; `fn` goes on with the call
 * and ends it.
 */
static void
put_code(struct call *c, struct registry_function *f, json_t *config, struct span base64,
    lambda_code_fn fn)
{
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (!set_config(c, f, config))
        return;
    err = lambda_put_code(
        c->account->lambda, buf_span(&f->config), base64, f->code_sha256, fn, c, &msg);
    if (err == BM_OK)
        call_wait(c);
    else
        refuse_code(c, err, &msg);
}

/* ---- create ---- */

static bool
read_name(struct call *c, struct registry_function *f)
{
    const char *given;

    if (!call_text(c, "FunctionName", true, 170, &given))
        return false;
    if (lambda_name_of(given, f->name) && strlen(f->name) <= NAME_MAX_LEN)
        return true;
    call_refuse_input(c,
        "FunctionName is '%s'; want 1 to %d letters, digits, '-' and '_', or the function's ARN.",
        given, NAME_MAX_LEN);
    return false;
}

static bool
check_code(struct call *c, json_t *code)
{
    for (size_t i = 0; NOT_BUILT_CODE[i] != NULL; i++) {
        if (json_object_get(code, NOT_BUILT_CODE[i]) == NULL)
            continue;
        call_refuse(c, NOT_BUILT, "Code.%s is not built here; give the package as ZipFile.",
            NOT_BUILT_CODE[i]);
        return false;
    }
    return true;
}

static void
insert_function(struct call *c, struct registry_function *f)
{
    struct bm_msg msg = { "" };
    enum bm_err err;

    buf_addf(&f->permissions, "[]");
    err = registry_function_create(c->registry, f, &msg);
    if (err == BM_ERR_EXISTS)
        call_refuse(c, RESOURCE_CONFLICT, "Function already exist: %s", f->name);
    else
        call_finish_json(c, err, &msg, 201, err == BM_OK ? stored_json(c, f->name) : NULL);
}

static json_t *
config_of_request(const struct call *c)
{
    json_t *config = json_pack("{s:i,s:i,s:s}", "Timeout", 3, "MemorySize", 128, "Description", "");

    take_settings(c, config);
    return config;
}

static void
on_code_of_new(void *arg, enum bm_err err, const struct bm_msg *msg, const struct lambda_code *code)
{
    struct call *c = arg;
    struct registry_function f = { 0 };
    json_t *config = config_of_request(c);

    call_resume(c);
    (void)json_object_set_new(config, "CodeSize", json_integer((json_int_t)code->size));
    memcpy(f.code_sha256, code->sha256, sizeof f.code_sha256);
    if (err != BM_OK)
        refuse_code(c, err, msg);
    else if (read_name(c, &f) && set_config(c, &f, config))
        insert_function(c, &f);
    json_decref(config);
    registry_function_fini(&f);
    if (c->answered)
        call_end(c);
}

void
api_create_function(struct call *c)
{
    struct registry_function f = { 0 };
    struct span base64;
    json_t *code;
    json_t *config = config_of_request(c);

    if (read_name(c, &f) && check_settings(c, true) && call_object(c, "Code", true, &code) &&
        check_code(c, code) && read_zip(c, code, &base64))
        put_code(c, &f, config, base64, on_code_of_new);
    json_decref(config);
    registry_function_fini(&f);
}

/* ---- read ---- */

void
api_get_function(struct call *c)
{
    struct registry_function f;
    json_t *body;
    json_t *reserved;

    if (!call_function(c, &f))
        return;
    /* Code.Location would be a URL to download the package from; there is none */
    body = json_pack(
        "{s:o,s:{s:s}}", "Configuration", function_json(c, &f), "Code", "RepositoryType", "local");
    reserved = call_function_reserved(&f);
    if (reserved != NULL)
        (void)json_object_set_new(body, "Concurrency", json_pack("{s:o}", RESERVED, reserved));
    call_reply_json(c, 200, body);
    registry_function_fini(&f);
}

void
api_get_function_configuration(struct call *c)
{
    struct registry_function f;

    if (!call_function(c, &f))
        return;
    call_reply_json(c, 200, function_json(c, &f));
    registry_function_fini(&f);
}

struct listing {
    struct call *c;
    json_t *items;
    size_t limit;
    const char *after; /* Marker: the last name of the page before; NULL at the start */
    char last[REGISTRY_NAME_MAX + 1];
    bool more;
};

static void
add_function(void *arg, const struct registry_function *f)
{
    struct listing *l = arg;

    if (l->after != NULL && strcmp(f->name, l->after) <= 0)
        return;
    if (json_array_size(l->items) == l->limit) {
        l->more = true;
        return;
    }
    memcpy(l->last, f->name, sizeof l->last);
    (void)json_array_append_new(l->items, function_json(l->c, f));
}

void
api_list_functions(struct call *c)
{
    struct listing l = { .c = c,
        .limit = (size_t)param_number(c, "MaxItems", PAGE_DEFAULT),
        .after = param_text(c, "Marker"),
        .items = json_array() };
    struct bm_msg msg;
    enum bm_err err = registry_function_list(c->registry, add_function, &l, &msg);
    json_t *body = json_pack("{s:o}", "Functions", l.items);

    if (l.more)
        (void)json_object_set_new(body, "NextMarker", json_string(l.last));
    if (err == BM_OK) {
        call_reply_json(c, 200, body);
    } else {
        json_decref(body);
        call_refuse_err(c, err, &msg);
    }
}

/* ---- change ---- */

static void
replace(struct call *c, struct registry_function *f)
{
    struct bm_msg msg = { "" };
    enum bm_err err;
    json_t *body;

    err = registry_function_replace(c->registry, f, &msg);
    body = err == BM_OK ? stored_json(c, f->name) : NULL;
    if (err != BM_OK || !call_commit(c)) {
        json_decref(body);
        if (err != BM_OK)
            call_refuse_err(c, err, &msg);
        return;
    }
    lambda_forget(c->account->lambda, f->name);
    call_reply_json(c, 200, body);
}

/* Others may have changed the function while its code was checked: what this call sets, and no
 * more, goes into what is stored now. */
static void
on_code(void *arg, enum bm_err err, const struct bm_msg *msg, const struct lambda_code *code)
{
    struct call *c = arg;
    struct registry_function f = { 0 };
    json_t *config;

    call_resume(c);
    if (err != BM_OK) {
        refuse_code(c, err, msg);
    } else if (call_function(c, &f)) {
        config = json_loadb((const char *)f.config.ptr, f.config.len, 0, NULL);
        take_settings(c, config);
        if (code->size > 0) {
            (void)json_object_set_new(config, "CodeSize", json_integer((json_int_t)code->size));
            memcpy(f.code_sha256, code->sha256, sizeof f.code_sha256);
        }
        if (set_config(c, &f, config))
            replace(c, &f);
        json_decref(config);
    }
    registry_function_fini(&f);
    if (c->answered)
        call_end(c);
}

void
api_update_function_code(struct call *c)
{
    struct registry_function f;
    struct span base64;
    json_t *config;

    if (!call_function(c, &f))
        return;
    config = json_loadb((const char *)f.config.ptr, f.config.len, 0, NULL);
    if (call_without(c, NOT_BUILT_CODE) && check_architectures(c) && read_zip(c, c->body, &base64))
        put_code(c, &f, config, base64, on_code);
    json_decref(config);
    registry_function_fini(&f);
}

void
api_update_function_configuration(struct call *c)
{
    struct registry_function f;
    json_t *config;

    if (!call_function(c, &f))
        return;
    config = json_loadb((const char *)f.config.ptr, f.config.len, 0, NULL);
    if (check_settings(c, false)) {
        take_settings(c, config);
        put_code(c, &f, config, span_of(NULL, 0), on_code);
    }
    json_decref(config);
    registry_function_fini(&f);
}

void
api_delete_function(struct call *c)
{
    struct registry_function f;
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (!call_function(c, &f))
        return;
    err = registry_function_delete(c->registry, f.name, &msg);
    if (err != BM_OK) {
        call_refuse_err(c, err, &msg);
    } else if (call_commit(c)) {
        lambda_forget(c->account->lambda, f.name);
        call_reply_empty(c, 204);
    }
    registry_function_fini(&f);
}
