/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See setup.h. The text comes from the template that the build fills in, too, so that what is
 * tested there is what is written here: share/birthmark/openssl/.
 */
#include "openssl/setup/setup.h"

#include "base/bytes.h"
#include "base/file.h"

#include <dlfcn.h>
#include <errno.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20 };

/* First words of what setup_write() writes, and of the block it adds to a system's file. */
static const char signature[] = "# OpenSSL with keys in the A71CH";
static const char marker[] = "# keys in the A71CH: a71chConfig openssl setup";

/* What the template's placeholders stand for. */
struct values {
    char system[SETUP_PATH_MAX];
    char module[SETUP_PATH_MAX];
    char file[SETUP_PATH_MAX];
    char init[128];    /* section of the initial settings */
    struct buf others; /* lines: what else the system loads */
    const char *address;
    bool include; /* the system's file */
    enum setup_psk psk;
    const char *pair; /* NULL: none */
    bool renew;
};

static enum bm_err
openssl_says(struct bm_msg *msg, const char *path)
{
    const char *data = NULL;
    int flags = 0;
    unsigned long e = ERR_peek_last_error_all(NULL, NULL, NULL, &data, &flags);
    const char *reason = ERR_reason_error_string(e);
    enum bm_err err = bm_fail(msg, BM_ERR_INPUT, "OpenSSL does not take %s: %s (%s)", path,
        reason != NULL ? reason : "no reason given", (flags & ERR_TXT_STRING) != 0 ? data : "");

    ERR_clear_error();
    return err;
}

/* A file of this installation, which may have been moved as a whole: beside the program. */
static enum bm_err
installed(const char *below, char out[SETUP_PATH_MAX], struct bm_msg *msg)
{
    char exe[SETUP_PATH_MAX];
    char path[SETUP_PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    char *slash;
    char *real;

    if (n <= 0)
        return bm_fail(msg, BM_ERR_IO, "/proc/self/exe: %s", strerror(errno));
    exe[n] = '\0';
    slash = strrchr(exe, '/');
    if (slash != NULL)
        *slash = '\0';
    (void)snprintf(path, sizeof path, "%s/../%s", exe, below);
    real = realpath(path, NULL);
    if (real == NULL)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "%s: %s; install it there", path, strerror(errno));
    (void)snprintf(out, SETUP_PATH_MAX, "%s", real);
    free(real);
    return BM_OK;
}

/* Where OpenSSL looks when nothing else is said, whatever OPENSSL_CONF says. */
static enum bm_err
resolve_system(const char *given, char out[SETUP_PATH_MAX], struct bm_msg *msg)
{
    char standard[SETUP_PATH_MAX];
    char *real;

    (void)snprintf(standard, sizeof standard, "%s/openssl.cnf", X509_get_default_cert_area());
    real = realpath(given != NULL ? given : standard, NULL); /* a link stays a link */
    if (real == NULL)
        return bm_fail(msg, BM_ERR_IO, "%s: %s", given != NULL ? given : standard, strerror(errno));
    (void)snprintf(out, SETUP_PATH_MAX, "%s", real);
    free(real);
    return BM_OK;
}

/* Lines for what the system's configuration loads already, by `list`, but for default and us. */
static void
keep_others(CONF *conf, const char *init, const char *list, struct buf *out)
{
    const char *section = NCONF_get_string(conf, init, list);
    const STACK_OF(CONF_VALUE) *entries = section != NULL ? NCONF_get_section(conf, section) : NULL;

    for (int i = 0; i < sk_CONF_VALUE_num(entries); i++) {
        const CONF_VALUE *v = sk_CONF_VALUE_value(entries, i);

        if (strcmp(v->name, "default") != 0 && strcmp(v->name, "e2a71ch") != 0)
            buf_addf(out, "%s = %s\n", v->name, v->value);
    }
    ERR_clear_error();
}

static enum bm_err
read_system(const struct setup *s, struct values *v, struct bm_msg *msg)
{
    CONF *conf = NCONF_new(NULL);
    enum bm_err err = BM_OK;
    const char *init;
    const char *query;

    if (conf == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    if (NCONF_load(conf, v->system, NULL) != 1) {
        err = openssl_says(msg, v->system);
    } else {
        init = NCONF_get_string(conf, NULL, "openssl_conf");
        (void)snprintf(v->init, sizeof v->init, "%s", init != NULL ? init : "openssl_init");
        query = init != NULL ? NCONF_get_string(conf, init, "alg_section") : NULL;
        if (s->psk != SETUP_NO_PSK && query != NULL && strcmp(query, "e2a71ch_psk") != 0)
            err = bm_fail(msg, BM_ERR_CONFLICT,
                "%s has an alg_section of its own, which PSKs would take the place of; merge "
                "docs/openssl.md's by hand",
                v->system);
        if (init != NULL)
            keep_others(conf, init, s->engine ? "engines" : "providers", &v->others);
        ERR_clear_error();
    }
    NCONF_free(conf);
    return err;
}

static void
add_value(struct buf *out, struct span name, const struct values *v)
{
    const struct {
        const char *name;
        const char *text;
    } table[] = {
        { "INCLUDE", v->include ? ".include " : "# included by " },
        { "SYSTEM", v->system },
        { "MODULE", v->module },
        { "CONF", v->file },
        { "INIT", v->init },
        { "HASH", v->address != NULL ? "" : "# " },
        { "ADDRESS", v->address != NULL ? v->address : "127.0.0.1:8050" },
        { "PSK", v->psk == SETUP_PSK_HMAC ? "" : "# " },
        { "BASE", "# ... on top of what stands above." },
        { "USE_PAIR", v->pair != NULL ? "" : "# " },
        { "PAIR", v->pair != NULL ? v->pair : "3" },
        { "RENEW", v->renew ? "" : "# " },
    };

    if (span_eq(name, span_of("OTHERS", 6)))
        buf_add(out, v->others.ptr, v->others.len);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (span_eq(name, span_of(table[i].name, strlen(table[i].name))))
            buf_add(out, table[i].text, strlen(table[i].text));
    }
}

static void
fill_in(const struct buf *template, const struct values *v, struct buf *out)
{
    const uint8_t *at = template->ptr;
    const uint8_t *end = template->ptr + template->len;

    while (at < end) {
        const uint8_t *open = memchr(at, '@', (size_t)(end - at));
        const uint8_t *close =
            open != NULL && open + 1 < end ? memchr(open + 1, '@', (size_t)(end - open) - 1) : NULL;

        if (close == NULL) {
            buf_add(out, at, (size_t)(end - at));
            return;
        }
        buf_add(out, at, (size_t)(open - at));
        add_value(out, span_of(open + 1, (size_t)(close - open) - 1), v);
        at = close + 1;
    }
}

/* Would a program start well with this file? In a context of its own, as far as one can. */
static enum bm_err
try_out(const char *path, bool engine, const char *module, struct bm_msg *msg)
{
    OSSL_LIB_CTX *ctx = OSSL_LIB_CTX_new();
    EVP_MD *md = NULL;
    enum bm_err err = BM_OK;
    void *handle = NULL;

    if (ctx == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    ERR_clear_error();
    if (engine && (handle = dlopen(module, RTLD_NOW | RTLD_LOCAL)) == NULL)
        err = bm_fail(msg, BM_ERR_INPUT, "%s", dlerror());
    else if (!engine && OSSL_LIB_CTX_load_config(ctx, path) != 1)
        err = openssl_says(msg, path);
    else if (!engine && OSSL_PROVIDER_available(ctx, "e2a71ch") != 1)
        err = bm_fail(msg, BM_ERR_INPUT, "with %s OpenSSL does not load %s", path, module);
    else if ((md = EVP_MD_fetch(ctx, "SHA256", NULL)) == NULL)
        err = bm_fail(msg, BM_ERR_INPUT, "with %s OpenSSL has no SHA-256", path);
    if (handle != NULL)
        (void)dlclose(handle);
    EVP_MD_free(md);
    OSSL_LIB_CTX_free(ctx);
    ERR_clear_error();
    return err;
}

/* Put `text` where `path` is, with the mode of what is there. */
static enum bm_err
replace(const char *path, const struct buf *text, struct bm_msg *msg)
{
    struct stat st;
    mode_t mode = stat(path, &st) == 0 ? st.st_mode & 07777 : 0644;

    if (text->failed)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    return file_write(path, buf_span(text), mode, msg);
}

/* The line for `file` in a system's configuration; *at its place when it is there. */
static bool
find_block(const struct buf *text, size_t *at, size_t *len)
{
    const char *start = (const char *)text->ptr;
    const char *found = text->len > 0 ? memmem(start, text->len, marker, sizeof marker - 1) : NULL;
    const char *end;

    if (found == NULL)
        return false;
    end = memchr(found, '\n', text->len - (size_t)(found - start));
    if (end != NULL) /* the .include after the marker */
        end = memchr(end + 1, '\n', text->len - (size_t)(end + 1 - start));
    *at = (size_t)(found - start);
    *len = (end != NULL ? (size_t)(end + 1 - start) : text->len) - *at;
    return true;
}

static void
add_block(const struct buf *from, const char *file, struct buf *out)
{
    buf_add(out, from->ptr, from->len);
    if (from->len > 0 && from->ptr[from->len - 1] != '\n')
        buf_add(out, "\n", 1);
    buf_addf(out, "%s\n.include %s\n", marker, file);
}

/* Add the line to the system's file, after a trial of what it would be. */
static enum bm_err
include_in_system(const struct values *v, bool engine, struct bm_msg *msg)
{
    struct buf text = { 0 };
    struct buf changed = { 0 };
    char trial[SETUP_PATH_MAX + 16];
    char line[SETUP_PATH_MAX + 16];
    size_t at = 0;
    size_t len = 0;
    enum bm_err err = file_read(v->system, FILE_MAX, &text, msg);

    (void)snprintf(trial, sizeof trial, "%s.a71ch-trial", v->system);
    (void)snprintf(line, sizeof line, ".include %s\n", v->file);
    if (err == BM_OK && find_block(&text, &at, &len)) {
        if (memmem(&text.ptr[at], len, line, strlen(line)) == NULL)
            err = bm_fail(msg, BM_ERR_CONFLICT,
                "%s includes another file of ours already; take that out first: a71chConfig "
                "openssl setup --remove %s",
                v->system, v->system);
        goto out;
    }
    add_block(&text, v->file, &changed);
    if (err == BM_OK)
        err = replace(trial, &changed, msg);
    if (err == BM_OK)
        err = try_out(trial, engine, v->module, msg);
    (void)unlink(trial);
    if (err == BM_OK)
        err = replace(v->system, &changed, msg);
out:
    buf_fini(&changed);
    buf_fini(&text);
    return err;
}

/* A file that includes the system's while that includes one of ours would never end. */
static enum bm_err
check_not_included(const char *system, struct bm_msg *msg)
{
    struct buf text = { 0 };
    size_t at = 0;
    size_t len = 0;
    enum bm_err err = file_read(system, FILE_MAX, &text, msg);

    if (err == BM_OK && find_block(&text, &at, &len))
        err = bm_fail(msg, BM_ERR_CONFLICT,
            "%s has our line already: every program uses the chip; write again with --into, or "
            "take the line out with --remove",
            system);
    buf_fini(&text);
    return err;
}

/* Never over a file that somebody else wrote. */
static enum bm_err
check_ours(const char *path, struct buf *old, struct bm_msg *msg)
{
    enum bm_err err;

    if (access(path, F_OK) != 0)
        return BM_OK;
    err = file_read(path, FILE_MAX, old, msg);
    if (err == BM_OK &&
        (old->len < sizeof signature - 1 || memcmp(old->ptr, signature, sizeof signature - 1) != 0))
        err = bm_fail(msg, BM_ERR_EXISTS,
            "%s exists and was not written by a71chConfig openssl setup; choose another --file",
            path);
    return err;
}

/* Append a template of this installation, filled in. */
static enum bm_err
add_template(const char *name, const struct values *v, struct buf *out, struct bm_msg *msg)
{
    char below[128];
    char path[SETUP_PATH_MAX];
    struct buf template = { 0 };
    enum bm_err err;

    (void)snprintf(below, sizeof below, "share/birthmark/openssl/%s", name);
    err = installed(below, path, msg);
    if (err == BM_OK)
        err = file_read(path, FILE_MAX, &template, msg);
    if (err == BM_OK)
        fill_in(&template, v, out);
    buf_fini(&template);
    return err;
}

/* What setup_write() changes, put back. */
static void
restore(const char *path, const struct buf *old)
{
    if (old->len > 0)
        (void)(file_write(path, buf_span(old), 0644, NULL) == BM_OK);
    else
        (void)unlink(path);
}

static enum bm_err
write_file(const struct setup *s, const struct values *v, struct bm_msg *msg)
{
    struct buf text = { 0 };
    struct buf old = { 0 };
    char trial[SETUP_PATH_MAX + 16];
    enum bm_err err = check_ours(v->file, &old, msg);

    (void)snprintf(trial, sizeof trial, "%s.a71ch-trial", v->file);
    if (err == BM_OK)
        err = add_template(
            s->engine ? "openssl-a71ch-engine.cnf.in" : "openssl-a71ch.cnf.in", v, &text, msg);
    if (err == BM_OK && s->psk == SETUP_PSK_NATIVE) {
        buf_add(&text, "\n", 1);
        err = add_template("openssl-a71ch-psk-native.cnf.in", v, &text, msg);
    }
    if (err == BM_OK)
        err = replace(trial, &text, msg);
    if (err == BM_OK)
        err = try_out(trial, s->engine, v->module, msg);
    (void)unlink(trial);
    if (err == BM_OK)
        err = replace(v->file, &text, msg);
    if (err == BM_OK && s->into) {
        err = include_in_system(v, s->engine, msg);
        if (err != BM_OK)
            restore(v->file, &old);
    }
    buf_fini(&old);
    buf_fini(&text);
    return err;
}

/* An absolute path, because .include and OPENSSL_CONF are read in other folders. */
static enum bm_err
resolve_file(const struct setup *s, struct values *v, struct bm_msg *msg)
{
    char folder[SETUP_PATH_MAX];
    const char *slash;
    const char *name;
    char *real;

    (void)snprintf(folder, sizeof folder, "%s", s->file != NULL ? s->file : v->system);
    slash = strrchr(folder, '/');
    name = s->file == NULL ? "a71ch.cnf" : slash != NULL ? &s->file[slash - folder + 1] : s->file;
    if (slash != NULL)
        folder[slash == folder ? 1 : slash - folder] = '\0';
    real = realpath(slash != NULL ? folder : ".", NULL);
    if (real == NULL)
        return bm_fail(msg, BM_ERR_IO, "%s: %s", folder, strerror(errno));
    (void)snprintf(v->file, sizeof v->file, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
    free(real);
    if (strcmp(v->file, v->system) == 0)
        return bm_fail(msg, BM_ERR_ARG, "--file must not be the configuration it is built upon");
    return BM_OK;
}

/* A value of the configuration language: what would end or change the line is refused. */
static enum bm_err
check_address(const char *address, struct bm_msg *msg)
{
    if (address != NULL && (address[0] == '\0' || strpbrk(address, " \t\r\n\"'$#\\;@") != NULL))
        return bm_fail(msg, BM_ERR_ARG,
            "--address %s: write HOST:PORT or unix:PATH, without blanks and quotes", address);
    return BM_OK;
}

enum bm_err
setup_write(const struct setup *s, char written[SETUP_PATH_MAX], struct bm_msg *msg)
{
    struct values v = { .address = s->address,
        .include = !s->into,
        .psk = s->psk,
        .pair = s->pair,
        .renew = s->renew };
    enum bm_err err = check_address(s->address, msg);

    if (err == BM_OK)
        err = resolve_system(s->system, v.system, msg);
    if (err == BM_OK)
        err = resolve_file(s, &v, msg);
    if (err == BM_OK)
        err = installed(
            s->engine ? "lib/engines-3/e2a71ch.so" : "lib/ossl-modules/e2a71ch.so", v.module, msg);
    if (err == BM_OK && !s->into)
        err = check_not_included(v.system, msg);
    if (err == BM_OK)
        err = read_system(s, &v, msg);
    if (err == BM_OK)
        err = write_file(s, &v, msg);
    if (err == BM_OK)
        (void)snprintf(written, SETUP_PATH_MAX, "%s", v.file);
    buf_fini(&v.others);
    return err;
}

enum bm_err
setup_remove(const char *system, struct bm_msg *msg)
{
    char path[SETUP_PATH_MAX];
    struct buf text = { 0 };
    struct buf changed = { 0 };
    size_t at = 0;
    size_t len = 0;
    enum bm_err err = resolve_system(system, path, msg);

    if (err == BM_OK)
        err = file_read(path, FILE_MAX, &text, msg);
    if (err == BM_OK && !find_block(&text, &at, &len))
        err = bm_fail(msg, BM_ERR_NOT_FOUND, "%s has no line of ours", path);
    if (err == BM_OK) {
        buf_add(&changed, text.ptr, at);
        buf_add(&changed, &text.ptr[at + len], text.len - at - len);
        err = replace(path, &changed, msg);
    }
    buf_fini(&changed);
    buf_fini(&text);
    return err;
}
