/* SPDX-License-Identifier: Apache-2.0 */
/* How `birthmark device` tells a person, or a program, what happens. See device.h. */
#include "birthmark/device.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The cure, with the certificate's id in the place for it. */
static void
print_cure(const char *cure, const char *cert_id)
{
    static const char mark[] = "CERT_ID";
    const char *at;

    fputs("  cure: ", stderr);
    while (cert_id[0] != '\0' && (at = strstr(cure, mark)) != NULL) {
        fprintf(stderr, "%.*s%s", (int)(at - cure), cure, cert_id);
        cure = at + sizeof mark - 1;
    }
    fprintf(stderr, "%s\n", cure);
}

void
device_tell(struct device_teller *t, const struct client_event *e, const struct client *c)
{
    const struct identity *who = client_identity(c);
    X509 *leaf = who != NULL ? identity_leaf(who, client_pick(c)) : NULL;
    char cert_id[65] = "";

    const struct cause_info *info = cause_info(outcome_info(e->outcome)->cause);
    bool again = t->told && t->last == e->outcome;
    char wait[64] = "";

    if (leaf != NULL)
        chain_id(leaf, cert_id);
    if (e->wait_ms >= 0)
        (void)snprintf(wait, sizeof wait, "; trying again in %lld.%lld s",
            (long long)e->wait_ms / 1000, (long long)e->wait_ms % 1000 / 100);
    t->times = again ? t->times + 1 : 1;
    t->told = true;
    t->last = e->outcome;
    if (t->quiet && e->wait_ms >= 0)
        return;
    if (again && e->wait_ms >= 0) {
        fprintf(stderr, "birthmark device: %s again (%u times)%s\n", info->id, t->times, wait);
        return;
    }
    fprintf(stderr, "birthmark device: %s: %s%s%s%s%s\n", info->id, info->sentence,
        e->detail[0] != '\0' ? " (" : "", e->detail, e->detail[0] != '\0' ? ")" : "", wait);
    if (info->cure[0] != '\0')
        print_cure(info->cure, cert_id);
}

void
device_print_finding(FILE *to, const struct finding *f)
{
    static const char *const words[] = { "ok", "warn", "FAIL" };
    const struct cause_info *info = f->cause != CAUSE_NONE ? cause_info(f->cause) : NULL;

    fprintf(to, "%-4s  %-11s %s\n", words[f->level], f->layer, f->evidence);
    if (info == NULL)
        return;
    fprintf(to, "      %s: %s\n", info->id, info->sentence);
    if (info->cure[0] != '\0')
        fprintf(to, "      cure: %s\n", info->cure);
}

void
device_note(const struct device_teller *t, const char *text)
{
    if (!t->quiet)
        fprintf(stderr, "birthmark device: %s\n", text);
}

static void
print_json(const char *topic, struct span payload, bool retained)
{
    json_t *text = json_stringn((const char *)payload.ptr, payload.len);
    json_t *root = json_pack("{s:s,s:b}", "topic", topic, "retained", retained);
    struct buf b64 = { 0 };
    char *line;

    if (text != NULL)
        (void)json_object_set_new(root, "payload", text);
    else if (base64_encode(&b64, payload) == BM_OK && buf_cstr(&b64) != NULL)
        (void)json_object_set_new(root, "payloadBase64", json_string(buf_cstr(&b64)));
    line = json_dumps(root, JSON_COMPACT);
    if (line != NULL)
        (void)puts(line);
    free(line);
    buf_fini(&b64);
    json_decref(root);
}

void
device_print_message(
    const struct device_options *o, const char *topic, struct span payload, bool retained)
{
    if (o->json) {
        print_json(topic, payload, retained);
    } else {
        if (o->verbose)
            printf("%s ", topic);
        (void)fwrite(
            payload.ptr != NULL ? payload.ptr : (const uint8_t *)"", 1, payload.len, stdout);
        (void)putchar('\n');
    }
    (void)fflush(stdout);
}
