/* SPDX-License-Identifier: Apache-2.0 */
/* See clock.h. */
#include "device/clock.h"

#include "built.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static bool
possible(int64_t ms, int64_t passed_ms)
{
    return ms >= passed_ms - CLOCK_SLACK_MS && ms <= passed_ms + CLOCK_SPAN_MS;
}

struct clock_verdict
clock_judge(const struct clock_facts *f)
{
    struct clock_verdict v = { .now_ms = f->system_ms };
    int64_t apart = f->system_ms - f->server_ms;

    if (!possible(f->system_ms, f->passed_ms))
        v.system = f->system_ms < f->passed_ms ? CLOCK_BEHIND : CLOCK_AHEAD;
    if (f->server_ms != 0 && possible(f->server_ms, f->passed_ms)) {
        if (v.system == CLOCK_PLAUSIBLE && (apart > CLOCK_SLACK_MS || apart < -CLOCK_SLACK_MS))
            v.system = CLOCK_DIFFERS;
        if (v.system != CLOCK_PLAUSIBLE) {
            v.now_ms = f->server_ms;
            v.source = CLOCK_OF_SERVER;
        }
    } else if (v.system != CLOCK_PLAUSIBLE) {
        v.now_ms = f->passed_ms;
        v.source = CLOCK_AT_LEAST;
    }
    return v;
}

int64_t
clock_built_ms(void)
{
    return (int64_t)BUILT_SECONDS * 1000;
}

bool
clock_parse(const char *text, int64_t *ms)
{
    struct tm tm = { 0 };
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    char *end = NULL;
    long long s;

    if (rest != NULL && (strcmp(rest, "Z") == 0 || *rest == '\0')) {
        *ms = (int64_t)timegm(&tm) * 1000;
        return true;
    }
    s = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || s < 0 || s > 253402300799LL)
        return false;
    *ms = s * 1000;
    return true;
}

static size_t
on_header(char *line, size_t size, size_t count, void *arg)
{
    int64_t *ms = arg;
    char text[64];
    size_t len = size * count;
    time_t t;

    if (len < sizeof text && len > 5 && strncasecmp(line, "date:", 5) == 0) {
        memcpy(text, &line[5], len - 5);
        text[len - 5] = '\0';
        t = curl_getdate(text, NULL);
        if (t > 0)
            *ms = (int64_t)t * 1000;
    }
    return len;
}

static size_t
on_body(char *bytes, size_t size, size_t count, void *arg)
{
    (void)bytes;
    (void)arg;
    return size * count;
}

enum bm_err
clock_ask(const char *url, unsigned timeout_ms, int64_t *server_ms, struct bm_msg *msg)
{
    CURL *c = curl_easy_init();
    int64_t ms = 0;
    CURLcode rc;

    if (c == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a request");
    (void)curl_easy_setopt(c, CURLOPT_URL, url);
    (void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    (void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
    (void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    (void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(c, CURLOPT_HEADERDATA, &ms);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    rc = curl_easy_perform(c);
    curl_easy_cleanup(c);
    if (ms == 0 && rc != CURLE_OK)
        return bm_fail(msg, rc == CURLE_OPERATION_TIMEDOUT ? BM_ERR_TIMEOUT : BM_ERR_IO,
            "no date from %s: %s", url, curl_easy_strerror(rc));
    if (ms == 0)
        return bm_fail(msg, BM_ERR_PROTO, "the answer of %s has no Date", url);
    *server_ms = ms;
    return BM_OK;
}
