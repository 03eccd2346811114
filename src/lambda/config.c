/* SPDX-License-Identifier: Apache-2.0 */
/* See config.h. */
#include "lambda/config.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    enum runtime runtime;
} runtimes[] = {
    { "provided", RUNTIME_PROVIDED },
    { "provided.al2", RUNTIME_PROVIDED },
    { "provided.al2023", RUNTIME_PROVIDED },
    { "python3.7", RUNTIME_PYTHON },
    { "python3.8", RUNTIME_PYTHON },
    { "python3.9", RUNTIME_PYTHON },
    { "python3.10", RUNTIME_PYTHON },
    { "python3.11", RUNTIME_PYTHON },
    { "python3.12", RUNTIME_PYTHON },
    { "python3.13", RUNTIME_PYTHON },
    { "nodejs18.x", RUNTIME_NODE },
    { "nodejs20.x", RUNTIME_NODE },
    { "nodejs22.x", RUNTIME_NODE },
};

/* What the service sets itself; a function that could change these would not be the function it
 * says. */
static const char *const reserved[] = {
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "TZ",
};

static enum bm_err
read_runtime(const char *name, struct config *c, struct bm_msg *msg)
{
    for (size_t i = 0; i < sizeof runtimes / sizeof *runtimes; i++) {
        if (strcmp(name, runtimes[i].name) != 0)
            continue;
        c->runtime = runtimes[i].runtime;
        (void)snprintf(c->runtime_name, sizeof c->runtime_name, "%s", name);
        return BM_OK;
    }
    return bm_fail(msg, BM_ERR_INPUT,
        "Runtime '%.40s' is not built here: use provided, provided.al2 or provided.al2023 (an "
        "executable 'bootstrap' in the package root), python3.7 to python3.13, or nodejs18.x, "
        "nodejs20.x, nodejs22.x (each runs on this machine's python3 or node)",
        name);
}

static enum bm_err
read_number(const json_t *root, const char *name, unsigned low, unsigned high, unsigned standard,
    unsigned *out, struct bm_msg *msg)
{
    const json_t *v = json_object_get(root, name);
    json_int_t n = standard;

    if (v != NULL && !json_is_null(v)) {
        n = json_integer_value(v);
        if (!json_is_integer(v) || n < low || n > high)
            return bm_fail(
                msg, BM_ERR_INPUT, "%s must be a whole number from %u to %u", name, low, high);
    }
    *out = (unsigned)n;
    return BM_OK;
}

/* [a-zA-Z][a-zA-Z0-9_]+, and none of the service's own. */
static enum bm_err
check_variable(const char *name, const json_t *value, struct bm_msg *msg)
{
    size_t len = strlen(name);

    if (len < 2 || strspn(name, "_0123456789") > 0 ||
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != len)
        return bm_fail(msg, BM_ERR_INPUT,
            "environment variable '%.60s': a name is a letter and then letters, digits or '_'",
            name);
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        if (strcasecmp(name, reserved[i]) == 0)
            return bm_fail(msg, BM_ERR_INPUT,
                "environment variable %s is set by the service; choose another name", name);
    }
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return bm_fail(msg, BM_ERR_INPUT, "environment variable %.60s: the value is text", name);
    return BM_OK;
}

static enum bm_err
read_environment(const json_t *root, struct config *c, struct bm_msg *msg)
{
    json_t *vars = json_object_get(json_object_get(root, "Environment"), "Variables");
    const char *name;
    json_t *value;
    size_t total = 0;

    if (vars == NULL || json_is_null(vars))
        return BM_OK;
    if (!json_is_object(vars))
        return bm_fail(msg, BM_ERR_INPUT, "Environment.Variables must be an object of texts");
    json_object_foreach(vars, name, value)
    {
        enum bm_err err = check_variable(name, value, msg);

        if (err != BM_OK)
            return err;
        total += strlen(name) + json_string_length(value);
    }
    if (total > CONFIG_ENVIRONMENT_MAX)
        return bm_fail(msg, BM_ERR_INPUT,
            "the environment variables have %zu bytes; at most %d are allowed", total,
            CONFIG_ENVIRONMENT_MAX);
    c->variables = json_incref(vars);
    return BM_OK;
}

static enum bm_err
read_config(const json_t *root, struct config *c, struct bm_msg *msg)
{
    const char *runtime = json_string_value(json_object_get(root, "Runtime"));
    const char *handler = json_string_value(json_object_get(root, "Handler"));
    enum bm_err err;

    if (runtime == NULL || handler == NULL || *handler == '\0')
        return bm_fail(msg, BM_ERR_INPUT,
            "Runtime and Handler are mandatory parameters for functions created with deployment "
            "packages.");
    if (strlen(handler) > CONFIG_HANDLER_MAX || strpbrk(handler, " \t\r\n") != NULL)
        return bm_fail(msg, BM_ERR_INPUT, "Handler '%.40s...': at most %d characters, no blanks",
            handler, CONFIG_HANDLER_MAX);
    (void)snprintf(c->handler, sizeof c->handler, "%s", handler);
    err = read_runtime(runtime, c, msg);
    if (err == BM_OK)
        err = read_number(
            root, "Timeout", 1, CONFIG_TIMEOUT_MAX, CONFIG_TIMEOUT_DEFAULT, &c->timeout_s, msg);
    if (err == BM_OK)
        err = read_number(root, "MemorySize", CONFIG_MEMORY_MIN, CONFIG_MEMORY_MAX,
            CONFIG_MEMORY_DEFAULT, &c->memory_mb, msg);
    if (err == BM_OK)
        err = read_environment(root, c, msg);
    c->reserved =
        json_is_integer(json_object_get(root, "ReservedConcurrentExecutions"))
            ? (int)json_integer_value(json_object_get(root, "ReservedConcurrentExecutions"))
            : -1;
    return err;
}

enum bm_err
config_parse(struct span json, struct config *out, struct bm_msg *msg)
{
    json_error_t e;
    json_t *root = json_loadb((const char *)json.ptr, json.len, 0, &e);
    enum bm_err err;

    *out = (struct config){ 0 };
    if (!json_is_object(root)) {
        json_decref(root);
        return bm_fail(msg, BM_ERR_INPUT, "the function's configuration is not a JSON object");
    }
    err = read_config(root, out, msg);
    if (err != BM_OK)
        config_fini(out);
    json_decref(root);
    return err;
}

void
config_fini(struct config *c)
{
    json_decref(c->variables);
    *c = (struct config){ 0 };
}
