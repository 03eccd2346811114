/* SPDX-License-Identifier: Apache-2.0 */
/* See job.h. */
#include "factory/job.h"

#include "base/file.h"
#include "pki/subject.h"

#include <dirent.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reading {
    const char *folder;
    struct job *job;
    struct bm_msg *msg;
};

static enum bm_err
wants(struct reading *r, const char *member, const char *what)
{
    return bm_fail(r->msg, BM_ERR_INPUT, "job: \"%.60s\" must be %s", member, what);
}

static enum bm_err
number(struct reading *r, const json_t *o, const char *member, json_int_t least, json_int_t most,
    json_int_t preset, json_int_t *out)
{
    const json_t *v = json_object_get(o, member);
    char what[80];

    *out = v == NULL ? preset : json_integer_value(v);
    if ((v == NULL && preset >= least) || (json_is_integer(v) && *out >= least && *out <= most))
        return BM_OK;
    (void)snprintf(
        what, sizeof what, "a number from %lld to %lld", (long long)least, (long long)most);
    return wants(r, member, what);
}

static enum bm_err
flag(struct reading *r, const json_t *o, const char *member, bool *out)
{
    const json_t *v = json_object_get(o, member);

    *out = json_is_true(v);
    return v == NULL || json_is_boolean(v) ? BM_OK : wants(r, member, "true or false");
}

static enum bm_err
path(struct reading *r, const json_t *o, const char *member, char out[PATH_MAX])
{
    const char *v = json_string_value(json_object_get(o, member));
    int len;

    if (v == NULL || *v == '\0')
        return wants(r, member, "a file's path");
    len = *v == '/' ? snprintf(out, PATH_MAX, "%s", v)
                    : snprintf(out, PATH_MAX, "%s/%s", r->folder, v);
    return len < PATH_MAX ? BM_OK : wants(r, member, "a shorter path");
}

/* Every member is known: a misspelt lock must not be a lock that is not set. */
static enum bm_err
known(struct reading *r, const json_t *o, const char *where, const char *names)
{
    const char *key;
    const json_t *v;
    json_t *walk = json_incref((json_t *)(uintptr_t)o);
    enum bm_err err = BM_OK;

    json_object_foreach(walk, key, v)
    {
        char word[72];

        if (snprintf(word, sizeof word, " %s ", key) >= (int)sizeof word ||
            strstr(names, word) == NULL) {
            err = bm_fail(r->msg, BM_ERR_INPUT, "job: there is no member \"%.60s\"%s; known are%s",
                key, where, names);
            break;
        }
    }
    json_decref(walk);
    return err;
}

static enum bm_err
read_object(
    struct reading *r, const json_t *o, const char *member, const char *names, const json_t **out)
{
    char where[80];

    *out = json_object_get(o, member);
    if (*out == NULL)
        return BM_OK;
    if (!json_is_object(*out))
        return wants(r, member, "an object");
    (void)snprintf(where, sizeof where, " in \"%s\"", member);
    return known(r, *out, where, names);
}

static enum bm_err
read_name(struct reading *r, const json_t *o)
{
    const char *v = json_string_value(json_object_get(o, "name"));

    if (v == NULL || *v == '\0' || strlen(v) >= JOB_NAME_MAX ||
        strspn(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != strlen(v))
        return wants(r, "name", "1 to 64 letters, digits, points, - or _");
    (void)snprintf(r->job->name, JOB_NAME_MAX, "%s", v);
    return BM_OK;
}

static enum bm_err
read_ca(struct reading *r, const json_t *o)
{
    const json_t *ca;
    enum bm_err err = read_object(r, o, "ca", " certificate key ", &ca);

    if (err == BM_OK && ca == NULL)
        err = wants(r, "ca", "an object with certificate and key");
    if (err == BM_OK)
        err = path(r, ca, "certificate", r->job->ca_cert);
    return err == BM_OK ? path(r, ca, "key", r->job->ca_key) : err;
}

static enum bm_err
read_wrap_key(struct reading *r, const json_t *o)
{
    char file[PATH_MAX];
    struct buf text = { 0 };
    enum bm_err err = path(r, o, "wrapKey", file);

    if (err == BM_OK)
        err = file_read(file, 4096, &text, r->msg);
    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
        text.len--;
    if (err == BM_OK &&
        (text.len != 32 || hex_decode(r->job->wrap_key, 16, buf_span(&text)) != BM_OK))
        err = wants(r, "wrapKey", "a file of 32 hex digits");
    if (text.ptr != NULL)
        bm_wipe(text.ptr, text.len);
    buf_fini(&text);
    return err;
}

static enum bm_err
read_key(struct reading *r, const json_t *o)
{
    const json_t *v = json_object_get(o, "key");
    const char *how = v == NULL ? "generate" : json_string_value(v);

    if (how == NULL || (strcmp(how, "generate") != 0 && strcmp(how, "inject") != 0))
        return wants(r, "key", "\"generate\" or \"inject\"");
    r->job->inject = strcmp(how, "inject") == 0;
    if (r->job->inject)
        return read_wrap_key(r, o);
    return json_object_get(o, "wrapKey") == NULL
               ? BM_OK
               : wants(r, "wrapKey", "absent unless \"key\" is \"inject\"");
}

static enum bm_err
read_subject(struct reading *r, const json_t *o)
{
    const char *v = json_string_value(json_object_get(o, "subject"));
    char tried[JOB_SUBJECT_MAX];
    X509_NAME *name = NULL;
    struct bm_msg why;
    enum bm_err err;

    if (v == NULL || strlen(v) >= JOB_SUBJECT_MAX)
        return wants(r, "subject", "text like /O=Acme/CN={uid}");
    (void)snprintf(r->job->subject, JOB_SUBJECT_MAX, "%s", v);
    if (strstr(v, "{uid}") == NULL && strstr(v, "{certUid}") == NULL &&
        strstr(v, "{number}") == NULL)
        return wants(
            r, "subject", "different for each chip: put {uid}, {certUid} or {number} in it");
    err = job_subject(r->job, "479051684791121023410053669647514812", "51682341005366964751", 1,
        tried, sizeof tried, r->msg);
    if (err == BM_OK) {
        err = subject_parse(tried, &name, &why);
        if (err != BM_OK)
            err = bm_fail(r->msg, BM_ERR_INPUT, "job: \"subject\": %.400s", why.text);
    }
    X509_NAME_free(name);
    return err;
}

static enum bm_err
read_storage(struct reading *r, const json_t *o)
{
    const json_t *s;
    json_int_t leaf = 0;
    json_int_t issuer = 1;
    enum bm_err err = read_object(r, o, "storage", " leaf issuer ", &s);

    if (err == BM_OK)
        err = number(r, s, "leaf", 0, 15, 0, &leaf);
    if (err == BM_OK && json_is_null(json_object_get(s, "issuer")))
        issuer = -1;
    else if (err == BM_OK)
        err = number(r, s, "issuer", 0, 15, 1, &issuer);
    if (err == BM_OK && leaf == issuer)
        err = wants(r, "issuer", "another index than \"leaf\", or null");
    r->job->leaf_index = (int)leaf;
    r->job->issuer_index = (int)issuer;
    return err;
}

static enum bm_err
read_counter(struct reading *r, const json_t *o)
{
    const json_t *c;
    json_int_t index = -1;
    json_int_t value = 0;
    enum bm_err err = read_object(r, o, "counter", " index value ", &c);

    if (err == BM_OK && c != NULL)
        err = number(r, c, "index", 0, 1, -1, &index);
    if (err == BM_OK && c != NULL)
        err = number(r, c, "value", 1, UINT32_MAX, 0, &value);
    r->job->counter = (int)index;
    r->job->counter_value = (uint32_t)value;
    return err;
}

static enum bm_err
read_locks(struct reading *r, const json_t *o)
{
    const json_t *l;
    struct job *j = r->job;
    enum bm_err err = read_object(r, o, "locks", " storage pair inject debugOff ", &l);

    if (err == BM_OK)
        err = flag(r, l, "storage", &j->lock_storage);
    if (err == BM_OK)
        err = flag(r, l, "pair", &j->lock_pair);
    if (err == BM_OK)
        err = flag(r, l, "inject", &j->lock_inject);
    return err == BM_OK ? flag(r, l, "debugOff", &j->debug_off) : err;
}

static enum bm_err
read_chips(struct reading *r, const json_t *o)
{
    json_t *list = json_object_get(o, "chips");
    size_t i;
    const json_t *v;

    if (!json_is_array(list) || json_array_size(list) == 0)
        return wants(r, "chips", "a list of addresses, as \"unix-dir:/run/chips\"");
    json_array_foreach(list, i, v)
    {
        if (!json_is_string(v) || json_string_length(v) == 0 || json_string_length(v) > 1000)
            return wants(r, "chips", "a list of texts");
    }
    r->job->chips = json_incref(list);
    return BM_OK;
}

static enum bm_err
read_rest(struct reading *r, const json_t *o)
{
    struct job *j = r->job;
    json_int_t n = 0;
    const json_t *m;
    enum bm_err err = number(r, o, "count", 1, JOB_CHIPS_MAX, -1, &n);

    j->count = (unsigned)n;
    if (err == BM_OK)
        err = number(r, o, "slot", 0, 3, 0, &n);
    j->slot = (unsigned)n;
    if (err == BM_OK)
        err = number(r, o, "days", 1, 36500, 3650, &n);
    j->days = (unsigned)n;
    if (err == BM_OK)
        err = flag(r, o, "reset", &j->reset);
    if (err == BM_OK && json_object_get(o, "scp03") != NULL) {
        j->has_scp = true;
        err = path(r, o, "scp03", j->scp_file);
    }
    if (err == BM_OK)
        err = read_object(
            r, o, "manifest", " partNumber manufacturer provisioner distributor groupId ", &m);
    if (err == BM_OK && m != NULL)
        j->manifest = json_deep_copy(m);
    return err;
}

enum bm_err
job_parse(struct span text, const char *folder, struct job *out, struct bm_msg *msg)
{
    static enum bm_err (*const parts[])(struct reading * r, const json_t *o) = { read_name, read_ca,
        read_rest, read_key, read_subject, read_storage, read_counter, read_locks, read_chips };
    struct reading r = { folder, out, msg };
    json_error_t why;
    json_t *o = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &why);
    enum bm_err err = BM_OK;

    *out = (struct job){ 0 };
    if (!json_is_object(o))
        err = bm_fail(msg, BM_ERR_INPUT, "job: line %d: %.200s", o == NULL ? why.line : 1,
            o == NULL ? why.text : "not an object");
    if (err == BM_OK)
        err = known(&r, o, "",
            " name count ca chips slot reset key wrapKey subject days storage counter scp03 locks "
            "manifest ");
    for (size_t i = 0; err == BM_OK && i < sizeof parts / sizeof *parts; i++)
        err = parts[i](&r, o);
    json_decref(o);
    if (err != BM_OK)
        job_fini(out);
    return err;
}

void
job_fini(struct job *j)
{
    json_decref(j->chips);
    json_decref(j->manifest);
    bm_wipe(j, sizeof *j);
}

void
job_irreversible(const struct job *j, struct buf *out)
{
    if (j->reset)
        buf_addf(
            out, "debug reset: keys, certificates, counters and locks of each chip are wiped\n");
    if (j->counter >= 0)
        buf_addf(out, "counter %d is raised to %u\n", j->counter, j->counter_value);
    if (j->has_scp)
        buf_addf(out, "SCP03 keys are set, and the secure channel becomes mandatory\n");
    if (j->lock_storage)
        buf_addf(out, "the certificates in storage are frozen\n");
    if (j->lock_pair)
        buf_addf(out, "key pair %u is frozen\n", j->slot);
    if (j->lock_inject)
        buf_addf(out, "inject lock: no key enters in the clear any more\n");
    if (j->debug_off)
        buf_addf(out, "debug mode is switched off: nothing of this can be reset\n");
}

enum bm_err
job_subject(const struct job *j, const char *uid, const char *cert_uid, unsigned number_of,
    char *out, size_t cap, struct bm_msg *msg)
{
    char decimal[16];
    const struct {
        const char *word;
        const char *value;
    } marks[] = { { "{uid}", uid }, { "{certUid}", cert_uid }, { "{number}", decimal },
        { "{job}", j->name } };
    struct wr w = wr_of(out, cap);

    (void)snprintf(decimal, sizeof decimal, "%u", number_of);
    for (const char *t = j->subject; *t != '\0';) {
        size_t i = 0;

        while (i < 4 && strncmp(t, marks[i].word, strlen(marks[i].word)) != 0)
            i++;
        if (i < 4)
            wr_bytes(&w, marks[i].value, strlen(marks[i].value));
        else
            wr_u8(&w, (uint8_t)*t);
        t += i < 4 ? strlen(marks[i].word) : 1;
    }
    wr_u8(&w, 0);
    return w.failed
               ? bm_fail(msg, BM_ERR_LIMIT, "job: \"subject\" is too long with a chip's ids in it")
               : BM_OK;
}

/* ---- addresses ---- */

struct list {
    char **names;
    size_t count;
};

static enum bm_err
add(struct list *l, const char *text, struct bm_msg *msg)
{
    char **more =
        l->count < JOB_CHIPS_MAX ? realloc(l->names, (l->count + 2) * sizeof *more) : NULL;

    if (more == NULL)
        return bm_fail(
            msg, BM_ERR_LIMIT, "more than %d addresses, or out of memory", JOB_CHIPS_MAX);
    l->names = more;
    more[l->count] = strdup(text);
    more[l->count + 1] = NULL;
    return more[l->count++] != NULL ? BM_OK : bm_fail(msg, BM_ERR_MEM, "out of memory");
}

static enum bm_err
add_folder(struct list *l, const char *dir, struct bm_msg *msg)
{
    struct dirent **found = NULL;
    int n = scandir(dir, &found, NULL, alphasort);
    enum bm_err err = n < 0 ? bm_fail(msg, BM_ERR_IO, "cannot list the sockets in %s", dir) : BM_OK;
    char text[PATH_MAX];

    for (int i = 0; i < n; i++) {
        if (err == BM_OK && found[i]->d_type == DT_SOCK &&
            snprintf(text, sizeof text, "unix:%s/%s", dir, found[i]->d_name) < (int)sizeof text)
            err = add(l, text, msg);
        free(found[i]);
    }
    free(found);
    return err;
}

/* As a71ch_open() takes it, without asking whether there is a chip. */
static bool
is_address(const char *text)
{
    static const char *const kinds[] = { "unix:", "i2c:", "sim:" };
    const char *port = strrchr(text, ':');
    char *end = NULL;
    unsigned long n;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strncmp(text, kinds[i], strlen(kinds[i])) == 0)
            return text[strlen(kinds[i])] != '\0';
    }
    n = port != NULL && port > text ? strtoul(port + 1, &end, 10) : 0;
    return n >= 1 && n <= 65535 && *end == '\0' && strpbrk(text, " \t/") == NULL;
}

/* "a{001..100}b" */
static enum bm_err
add_pattern(struct list *l, const char *text, struct bm_msg *msg)
{
    const char *open = strchr(text, '{');
    const char *close = open != NULL ? strchr(open, '}') : NULL;
    char one[1200];
    unsigned from, to;
    int width = 0;
    enum bm_err err = BM_OK;

    if (open == NULL)
        return add(l, text, msg);
    if (close == NULL || sscanf(open, "{%9u%n..%9u}", &from, &width, &to) != 2 || to < from ||
        to - from >= JOB_CHIPS_MAX)
        return bm_fail(
            msg, BM_ERR_INPUT, "job: \"chips\": '%.100s': write a range as {0000..0999}", text);
    for (unsigned i = from; err == BM_OK && i <= to; i++) {
        (void)snprintf(
            one, sizeof one, "%.*s%0*u%s", (int)(open - text), text, width - 1, i, close + 1);
        err = add(l, one, msg);
    }
    return err;
}

enum bm_err
job_addresses(const struct job *j, char ***out, size_t *count, struct bm_msg *msg)
{
    struct list l = { 0 };
    enum bm_err err = BM_OK;
    size_t i;
    const json_t *v;

    json_array_foreach(j->chips, i, v)
    {
        const char *text = json_string_value(v);

        if (err == BM_OK && strncmp(text, "unix-dir:", 9) != 0 && strchr(text, '{') == NULL &&
            !is_address(text))
            err = bm_fail(msg, BM_ERR_INPUT,
                "job: \"chips\": '%.100s' is no address of a chip; write HOST:PORT, unix:PATH, "
                "unix-dir:FOLDER, i2c:DEVICE or sim:FOLDER",
                text);
        if (err == BM_OK)
            err = strncmp(text, "unix-dir:", 9) == 0 ? add_folder(&l, text + 9, msg)
                                                     : add_pattern(&l, text, msg);
    }
    if (err == BM_OK && l.count == 0)
        err = bm_fail(msg, BM_ERR_INPUT, "job: \"chips\" names no chip");
    if (err != BM_OK) {
        job_addresses_free(l.names);
        return err;
    }
    *out = l.names;
    *count = l.count;
    return BM_OK;
}

void
job_addresses_free(char **list)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++)
        free(list[i]);
    free(list);
}
