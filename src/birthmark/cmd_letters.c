/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark dead-letters`: what the cloud gave up after its retries, why, and the event itself, so
 * that it can be sent again.
 *
 * Reads the registry beside a running cloud, or after it ended.
 */
#include "birthmark/cmd.h"

#include "base/clock.h"
#include "registry/registry.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: birthmark dead-letters [OPTION...]\n"
    "\n"
    "Lists what was given up, newest first: events that a function failed on three times, and what "
    "an action of a\n"
    "rule without error action could not deliver. The newest 1000 are kept.\n"
    "\n"
    "  --payload ID   print what letter ID was to deliver, and nothing else. To send it again:\n"
    "                 birthmark dead-letters --payload ID >event && aws lambda invoke "
    "--invocation-type Event \\\n"
    "                     --function-name NAME --payload fileb://event /dev/null\n"
    "  --limit N      the newest N (default 100)\n"
    "  --json         one JSON object a line, with the event in base64\n"
    "  --dir DIR      state folder of the cloud (default: $BIRTHMARK_DIR, else "
    "~/.local/state/birthmark)\n"
    "  --help, --version\n";

struct output {
    bool json;
    size_t count;
    struct buf text;
};

static void
print_json(const struct registry_letter *l, struct buf *out)
{
    char time[CLOCK_TEXT_LEN];
    char hex[65] = "";
    struct buf payload = { 0 };
    json_t *o;
    char *text;

    clock_text(time, l->created_ms);
    if (l->has_cert)
        hex_encode(hex, l->cert_id, sizeof l->cert_id);
    (void)!base64_encode(&payload, buf_span(&l->payload));
    o = json_pack("{s:I, s:s, s:I, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:s%}", "id",
        (json_int_t)l->id, "time", time, "timeMs", (json_int_t)l->created_ms, "kind", l->kind,
        "target", l->target, "rule", l->rule, "requestId", l->request_id, "attempts", l->attempts,
        "cause", l->cause, "certificateId", hex, "payload",
        payload.len > 0 ? (const char *)payload.ptr : "", payload.len);
    text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
    if (text != NULL)
        buf_addf(out, "%s\n", text);
    else
        out->failed = true;
    free(text);
    json_decref(o);
    buf_fini(&payload);
}

/* Only what is printable goes to the terminal; the rest are '?'. */
static void
clean(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || (unsigned char)*text == 0x7f)
            *text = '?';
    }
}

static void
print_letter(void *arg, const struct registry_letter *l)
{
    struct output *o = arg;
    struct registry_letter shown = *l;
    char time[CLOCK_TEXT_LEN];

    o->count++;
    if (o->json) {
        print_json(l, &o->text);
        return;
    }
    clock_text(time, l->created_ms);
    clean(shown.target);
    clean(shown.cause);
    buf_addf(&o->text, "%" PRId64 "  %s  %s %s\n    %s\n    request %s, %d attempt%s, %zu bytes",
        l->id, time, l->kind, shown.target, shown.cause, l->request_id, l->attempts,
        l->attempts == 1 ? "" : "s", l->payload.len);
    if (l->rule[0] != '\0')
        buf_addf(&o->text, ", rule %s", l->rule);
    buf_addf(&o->text, "\n");
}

static int
run(const char *dir, int64_t payload_of, size_t limit, bool json)
{
    const struct registry_options ro = { .dir = dir, .read_only = true };
    struct output o = { .json = json };
    struct registry_letter one = { 0 };
    struct registry *r = NULL;
    struct bm_msg msg = { { 0 } };
    enum bm_err err = registry_open(&ro, &r, &msg);

    if (err == BM_OK && payload_of > 0) {
        err = registry_letter_get(r, payload_of, &one, &msg);
        buf_add(&o.text, one.payload.ptr, one.payload.len);
        registry_letter_fini(&one);
    } else if (err == BM_OK) {
        err = registry_letter_list(r, limit, print_letter, &o, &msg);
        if (err == BM_OK && o.count == 0 && !json)
            buf_addf(&o.text, "none: nothing was given up\n");
    }
    registry_close(r);
    if (err == BM_OK && o.text.failed)
        err = bm_fail(&msg, BM_ERR_MEM, "out of memory");
    if (err == BM_OK && o.text.len > 0)
        (void)fwrite(o.text.ptr, 1, o.text.len, stdout);
    buf_fini(&o.text);
    if (err == BM_OK)
        return EXIT_DONE;
    fprintf(stderr, "birthmark dead-letters: %s\n", msg.text);
    return err == BM_ERR_NOT_FOUND ? EXIT_NOT_FOUND : EXIT_FAILED;
}

int
cmd_letters(int argc, char **argv)
{
    static const struct option options[] = { { "limit", required_argument, NULL, 'n' },
        { "json", no_argument, NULL, 'j' }, { "payload", required_argument, NULL, 'p' },
        CMD_COMMON_OPTIONS };
    struct cmd_common common = { .command = "dead-letters", .usage = usage };
    unsigned long limit = 100;
    long long payload_of = 0;
    bool json = false;
    int end = CMD_GO_ON;
    int opt;

    while (end == CMD_GO_ON && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'n' && ((limit = strtoul(optarg, NULL, 10)) == 0 || limit > 1000000))
            return cmd_misuse("dead-letters", "--limit wants 1 to 1000000, not '%s'", optarg);
        if (opt == 'p' && (payload_of = strtoll(optarg, NULL, 10)) <= 0)
            return cmd_misuse(
                "dead-letters", "--payload wants a letter's number, not '%s'", optarg);
        if (opt == 'j')
            json = true;
        end = cmd_common_option(&common, opt);
    }
    if (end == CMD_GO_ON)
        end = cmd_common_end(&common);
    if (end != CMD_GO_ON)
        return end;
    if (optind < argc)
        return cmd_misuse("dead-letters", "unexpected argument '%s'", argv[optind]);
    return run(common.dir, payload_of, limit, json);
}
