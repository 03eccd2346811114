/* SPDX-License-Identifier: Apache-2.0 */
/* See guard.h. RFC 9110 7.2 (Host), RFC 6454 7 (Origin), RFC 6265 4.2.1 (Cookie). */
#include "console/guard.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_LEN = 255, EVENT_ID_DIGITS = 18 };

static bool
is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && digits <= 5 && text[digits] == '\0';
}

static bool
is_ip(int family, const char *text)
{
    unsigned char ip[16];

    return inet_pton(family, text, ip) == 1;
}

/* The name of `name[:port]` or `[v6][:port]`, terminated, without brackets. */
static bool
host_name(const char *host, char out[NAME_MAX_LEN + 1], bool *bracketed)
{
    const char *end;
    size_t len;

    *bracketed = host[0] == '[';
    host += *bracketed;
    end = strchr(host, *bracketed ? ']' : ':');
    len = end != NULL ? (size_t)(end - host) : strlen(host);
    if (len == 0 || len > NAME_MAX_LEN || (*bracketed && end == NULL))
        return false;
    memcpy(out, host, len);
    out[len] = '\0';
    if (end == NULL)
        return true;
    end += *bracketed;
    return *end == '\0' ? *bracketed : *end == ':' && is_port(end + 1);
}

bool
guard_host(const char *host, const char *const *names, size_t name_count)
{
    char name[NAME_MAX_LEN + 1];
    bool bracketed;

    if (host == NULL || !host_name(host, name, &bracketed))
        return false;
    if (bracketed)
        return is_ip(AF_INET6, name);
    if (is_ip(AF_INET, name) || strcasecmp(name, "localhost") == 0)
        return true;
    for (size_t i = 0; i < name_count; i++) {
        if (strcasecmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

bool
guard_origin(const char *host, const char *origin, const char *fetch_site)
{
    static const char *const schemes[] = { "http://", "https://" };

    if (fetch_site != NULL && strcmp(fetch_site, "same-origin") != 0 &&
        strcmp(fetch_site, "none") != 0)
        return false;
    if (origin == NULL)
        return true;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t len = strlen(schemes[i]);

        if (strncasecmp(origin, schemes[i], len) == 0)
            return host != NULL && strcasecmp(origin + len, host) == 0;
    }
    return false;
}

bool
guard_cookie(const char *header, const char *name, struct span *value)
{
    size_t name_len = strlen(name);

    while (header != NULL && *header != '\0') {
        size_t len;

        header += strspn(header, "; ");
        len = strcspn(header, ";");
        if (len > name_len && header[name_len] == '=' && memcmp(header, name, name_len) == 0) {
            *value = span_of(header + name_len + 1, len - name_len - 1);
            return true;
        }
        header += len;
    }
    return false;
}

bool
guard_event_id(const char *text, int64_t *out)
{
    size_t digits = text != NULL ? strspn(text, "0123456789") : 0;

    if (digits == 0 || digits > EVENT_ID_DIGITS || text[digits] != '\0')
        return false;
    *out = 0;
    for (; *text != '\0'; text++)
        *out = *out * 10 + (*text - '0');
    return true;
}
