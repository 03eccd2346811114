/* SPDX-License-Identifier: Apache-2.0 */
/* See address.h. */
#include "host/address.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { I2C_FIRST = 0x08, I2C_LAST = 0x77 }; /* the others are reserved on every bus */

static const char default_port[] = "8050"; /* SPEC a71ch 6.2 */

static bool
starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool
port_valid(const char *port)
{
    size_t len = strlen(port);

    if (len == 0 || len >= ADDRESS_PORT_LEN || strspn(port, "0123456789") != len)
        return false;
    return atoi(port) >= 1 && atoi(port) <= 65535;
}

/* Printable ASCII without space: what else could not be looked up, and would garble messages. */
static bool
host_valid(const char *host)
{
    for (const char *c = host; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~')
            return false;
    }
    return host[0] != '\0';
}

static enum bm_err
finish_tcp(const char *text, struct address *a, struct bm_msg *msg)
{
    bool v6 = strchr(a->host, ':') != NULL;

    if (!host_valid(a->host))
        return bm_fail(msg, BM_ERR_INPUT,
            "the address '%.64s' has no host name; write HOST:PORT, such as 127.0.0.1:8050", text);
    if (!port_valid(a->port))
        return bm_fail(msg, BM_ERR_INPUT,
            "the address '%.64s' has no port from 1 to 65535; write HOST:PORT, such as "
            "127.0.0.1:8050",
            text);
    a->kind = ADDRESS_TCP;
    (void)snprintf(a->text, sizeof a->text, v6 ? "tcp:[%s]:%s" : "tcp:%s:%s", a->host, a->port);
    return BM_OK;
}

/* HOST:PORT or [IPV6]:PORT; `text` is the whole address for messages. */
static enum bm_err
parse_tcp(const char *text, const char *rest, struct address *a, struct bm_msg *msg)
{
    bool bracket = rest[0] == '[';
    const char *host = bracket ? &rest[1] : rest;
    size_t host_len = strcspn(host, bracket ? "]" : ":");
    const char *colon = &host[host_len];

    if (bracket && *colon == ']')
        colon = &colon[1];
    if (*colon != ':')
        return bm_fail(msg, BM_ERR_INPUT,
            "'%.64s' is not an address of a chip; write HOST:PORT or unix:PATH, such as "
            "127.0.0.1:8050",
            text);
    if (strchr(&colon[1], ':') != NULL)
        return bm_fail(msg, BM_ERR_INPUT,
            "the address '%.64s' has too many colons; write an IPv6 address in brackets, such as "
            "[::1]:8050",
            text);
    if (host_len >= sizeof a->host || strlen(&colon[1]) >= sizeof a->port)
        return bm_fail(msg, BM_ERR_INPUT, "the address '%.64s...' is too long", text);
    memcpy(a->host, host, host_len);
    a->host[host_len] = '\0';
    (void)snprintf(a->port, sizeof a->port, "%s", &colon[1]);
    return finish_tcp(text, a, msg);
}

static enum bm_err
parse_unix(const char *path, struct address *a, struct bm_msg *msg)
{
    if (path[0] == '\0')
        return bm_fail(msg, BM_ERR_INPUT, "the address 'unix:' has no path; write unix:PATH");
    if (strlen(path) >= ADDRESS_SOCKET_LEN)
        return bm_fail(msg, BM_ERR_INPUT,
            "the path '%.64s...' is longer than the %d bytes a Unix socket can have; use a "
            "shorter one",
            path, ADDRESS_SOCKET_LEN - 1);
    a->kind = ADDRESS_UNIX;
    (void)snprintf(a->path, sizeof a->path, "%s", path);
    (void)snprintf(a->text, sizeof a->text, "unix:%s", path);
    return BM_OK;
}

/* DEVICE or DEVICE:0xADDR, SPEC a71ch 5.8. */
static enum bm_err
parse_i2c(const char *text, struct address *a, struct bm_msg *msg)
{
    const char *device = &text[strlen("i2c:")];
    const char *colon = strchr(device, ':');
    size_t len = colon != NULL ? (size_t)(colon - device) : strlen(device);
    char *end = NULL;
    unsigned long i2c = ADDRESS_I2C_DEFAULT;

    if (colon != NULL) {
        bool hex = starts_with(&colon[1], "0x") && strlen(&colon[1]) == 4 &&
                   strspn(&colon[3], "0123456789abcdefABCDEF") == 2;

        i2c = hex ? strtoul(&colon[1], &end, 16) : 0;
    }
    if (device[0] != '/' || len >= sizeof a->path || i2c < I2C_FIRST || i2c > I2C_LAST)
        return bm_fail(msg, BM_ERR_INPUT,
            "'%.64s' is not an address of a chip; write i2c:DEVICE or i2c:DEVICE:0xADDR, such as "
            "i2c:/dev/i2c-1",
            text);
    a->kind = ADDRESS_I2C;
    a->i2c = (unsigned)i2c;
    memcpy(a->path, device, len);
    a->path[len] = '\0';
    (void)snprintf(a->text, sizeof a->text, i2c == ADDRESS_I2C_DEFAULT ? "i2c:%s" : "i2c:%s:0x%02x",
        a->path, a->i2c);
    return BM_OK;
}

static enum bm_err
parse_sim(const char *dir, struct address *a, struct bm_msg *msg)
{
    if (dir[0] == '\0' || strlen(dir) >= sizeof a->path)
        return bm_fail(msg, BM_ERR_INPUT,
            "'sim:%.64s' is not an address of a chip; write sim:DIR with a folder of at most %zu "
            "bytes",
            dir, sizeof a->path - 1);
    a->kind = ADDRESS_SIM;
    (void)snprintf(a->path, sizeof a->path, "%s", dir);
    (void)snprintf(a->text, sizeof a->text, "sim:%s", dir);
    return BM_OK;
}

enum bm_err
chip_address_parse(const char *text, struct address *out, struct bm_msg *msg)
{
    struct address a = { 0 };
    enum bm_err err;

    if (starts_with(text, "sim:"))
        err = parse_sim(&text[strlen("sim:")], &a, msg);
    else if (starts_with(text, "i2c:"))
        err = parse_i2c(text, &a, msg);
    else if (starts_with(text, "unix:"))
        err = parse_unix(&text[strlen("unix:")], &a, msg);
    else
        err = parse_tcp(text, starts_with(text, "tcp:") ? &text[strlen("tcp:")] : text, &a, msg);
    if (err == BM_OK)
        *out = a;
    return err;
}

/* As NXP's engine of 2018 and of 2022 write it: "host" or "host:port". SPEC a71ch 9.4. */
static enum bm_err
parse_rjct(const char *text, struct address *out, struct bm_msg *msg)
{
    char with_port[ADDRESS_TEXT_LEN];

    if (strchr(text, ':') != NULL)
        return chip_address_parse(text, out, msg);
    if (snprintf(with_port, sizeof with_port, "%s:%s", text, default_port) >= (int)sizeof with_port)
        return bm_fail(msg, BM_ERR_INPUT, "RJCT_SERVER_ADDR '%.64s...' is too long", text);
    return chip_address_parse(with_port, out, msg);
}

enum bm_err
chip_address_from_environment(struct address *out, struct bm_msg *msg)
{
    const char *ours = getenv("A71CH_ADDRESS");
    const char *theirs = getenv("RJCT_SERVER_ADDR");

    if (ours != NULL && ours[0] != '\0')
        return chip_address_parse(ours, out, msg);
    if (theirs != NULL && theirs[0] != '\0')
        return parse_rjct(theirs, out, msg);
    return chip_address_parse("127.0.0.1:8050", out, msg);
}
