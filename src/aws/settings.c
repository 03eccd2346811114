/* SPDX-License-Identifier: Apache-2.0 */
/* See settings.h, and aws.h for the order. */
#include "aws/settings.h"

#include "aws/profile.h"
#include "base/file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

static const struct {
    const char *name;
    const char *host;
    const char *variable;
} SERVICES[AWS_SERVICES] = {
    { "iot", "iot", "AWS_ENDPOINT_URL_IOT" },
    { "iotdata", "data-ats.iot", "AWS_ENDPOINT_URL_IOT_DATA_PLANE" },
    { "lambda", "lambda", "AWS_ENDPOINT_URL_LAMBDA" },
};

int
aws_service(const char *name)
{
    for (int i = 0; i < AWS_SERVICES; i++) {
        if (strcmp(SERVICES[i].name, name) == 0)
            return i;
    }
    return -1;
}

const char *
aws_service_host(int service)
{
    return SERVICES[service].host;
}

bool
aws_is_loopback(const char *url)
{
    static const char *const hosts[] = { "127.", "localhost", "[::1]" };
    const char *host = strstr(url, "://");

    if (host == NULL)
        return false;
    host += 3;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        size_t len = strlen(hosts[i]);

        if (strncmp(host, hosts[i], len) != 0)
            continue;
        if (i == 0) /* an address, not a name that begins like one */
            len = strspn(host, "0123456789.");
        if (host[len] == '\0' || host[len] == ':' || host[len] == '/')
            return true;
    }
    return false;
}

/* The two files, and the section of them that counts. */
struct files {
    struct buf credentials;
    struct buf config;
    const char *profile;
};

static const char *
variable(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && *value != '\0' ? value : NULL;
}

/* A file that the environment names must be there; the one in the home folder may be missing. */
static enum bm_err
read_one(const char *named, const char *name, struct buf *out, struct bm_msg *msg)
{
    const char *path = variable(named);
    const char *home = variable("HOME");
    char at_home[PATH_MAX];

    if (path != NULL)
        return file_read(path, FILE_MAX, out, msg);
    if (home != NULL &&
        snprintf(at_home, sizeof at_home, "%s/.aws/%s", home, name) < (int)sizeof at_home) {
        enum bm_err err = file_read(at_home, FILE_MAX, out, NULL);

        if (err == BM_ERR_MEM || err == BM_ERR_LIMIT)
            return bm_fail(msg, err, "%s: too long, or out of memory", at_home);
    }
    return BM_OK;
}

static bool
from_files(const struct files *f, const char *key, char *out, size_t cap)
{
    return profile_get(buf_span(&f->credentials), f->profile, key, out, cap) ||
           profile_get(buf_span(&f->config), f->profile, key, out, cap);
}

static bool
take(char *out, size_t cap, const char *value)
{
    return value != NULL && *value != '\0' && snprintf(out, cap, "%s", value) < (int)cap;
}

static enum bm_err
find_endpoints(
    const struct aws_options *o, const struct files *f, struct aws_settings *s, struct bm_msg *msg)
{
    for (int i = 0; i < AWS_SERVICES; i++) {
        char *url = s->endpoint[i];
        size_t len;

        if (!take(url, AWS_URL_MAX, o->endpoint) &&
            !take(url, AWS_URL_MAX, variable(SERVICES[i].variable)) &&
            !take(url, AWS_URL_MAX, variable("AWS_ENDPOINT_URL")) &&
            !from_files(f, "endpoint_url", url, AWS_URL_MAX)) {
            url[0] = '\0';
            continue;
        }
        len = strlen(url);
        while (len > 0 && url[len - 1] == '/')
            url[--len] = '\0';
        if ((strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) ||
            strpbrk(url, "?#@ ") != NULL)
            return bm_fail(msg, BM_ERR_INPUT,
                "the endpoint '%.200s' is no URL of the form http://HOST:PORT", url);
    }
    return BM_OK;
}

static enum bm_err
find_region(
    const struct aws_options *o, const struct files *f, struct aws_settings *s, struct bm_msg *msg)
{
    if (!take(s->region, sizeof s->region, o->region) &&
        !take(s->region, sizeof s->region, variable("AWS_REGION")) &&
        !take(s->region, sizeof s->region, variable("AWS_DEFAULT_REGION")) &&
        !from_files(f, "region", s->region, sizeof s->region) &&
        !(aws_is_loopback(s->endpoint[0]) && take(s->region, sizeof s->region, "us-east-1")))
        return bm_fail(msg, BM_ERR_INPUT,
            "where to? Give the endpoint of a local cloud (http://127.0.0.1:4566, as `birthmark "
            "cloud` prints it; also AWS_ENDPOINT_URL), or the region of AWS (also AWS_REGION)");
    if (strspn(s->region, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(s->region))
        return bm_fail(
            msg, BM_ERR_INPUT, "the region '%s' is none: write it like us-east-1", s->region);
    return BM_OK;
}

static bool
keys_from_environment(struct aws_settings *s)
{
    (void)take(s->token, sizeof s->token, variable("AWS_SESSION_TOKEN"));
    return take(s->access_key, sizeof s->access_key, variable("AWS_ACCESS_KEY_ID")) &&
           take(s->secret_key, sizeof s->secret_key, variable("AWS_SECRET_ACCESS_KEY"));
}

static bool
keys_from_files(const struct files *f, struct aws_settings *s)
{
    s->token[0] = '\0';
    (void)from_files(f, "aws_session_token", s->token, sizeof s->token);
    return from_files(f, "aws_access_key_id", s->access_key, sizeof s->access_key) &&
           from_files(f, "aws_secret_access_key", s->secret_key, sizeof s->secret_key);
}

static enum bm_err
find_credentials(
    const struct aws_options *o, const struct files *f, struct aws_settings *s, struct bm_msg *msg)
{
    bool named = o->profile != NULL && *o->profile != '\0';

    if (!named && keys_from_environment(s))
        return BM_OK;
    if (keys_from_files(f, s))
        return BM_OK;
    s->token[0] = '\0';
    if (!named && aws_is_loopback(s->endpoint[0])) {
        (void)snprintf(s->access_key, sizeof s->access_key, "test");
        (void)snprintf(s->secret_key, sizeof s->secret_key, "test");
        return BM_OK;
    }
    return bm_fail(msg, BM_ERR_INPUT,
        "no credentials: the profile '%.80s' has no access key in ~/.aws%s; with single sign-on or "
        "roles, `aws configure export-credentials --format env` makes variables of them",
        f->profile, named ? "" : ", and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set");
}

enum bm_err
aws_settings_find(const struct aws_options *o, struct aws_settings *s, struct bm_msg *msg)
{
    struct files f = { .profile = o->profile };
    enum bm_err err;

    if (f.profile == NULL || *f.profile == '\0')
        f.profile = variable("AWS_PROFILE");
    if (f.profile == NULL)
        f.profile = "default";
    err = read_one("AWS_SHARED_CREDENTIALS_FILE", "credentials", &f.credentials, msg);
    if (err == BM_OK)
        err = read_one("AWS_CONFIG_FILE", "config", &f.config, msg);
    if (err == BM_OK && o->profile != NULL && *o->profile != '\0' &&
        !profile_has(buf_span(&f.credentials), f.profile) &&
        !profile_has(buf_span(&f.config), f.profile))
        err = bm_fail(msg, BM_ERR_INPUT, "there is no profile '%.80s' in ~/.aws", f.profile);
    if (err == BM_OK)
        err = find_endpoints(o, &f, s, msg);
    if (err == BM_OK)
        err = find_region(o, &f, s, msg);
    if (err == BM_OK)
        err = find_credentials(o, &f, s, msg);
    if (f.credentials.ptr != NULL)
        bm_wipe(f.credentials.ptr, f.credentials.len);
    if (f.config.ptr != NULL)
        bm_wipe(f.config.ptr, f.config.len);
    buf_fini(&f.credentials);
    buf_fini(&f.config);
    return err;
}
