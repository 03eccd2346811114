/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark dead-letters`: what the cloud gave up after its retries, why, and the event itself;
 * and sending it again.
 *
 * Reads the registry beside a running cloud, or after it ended. What is sent again becomes an
 * invocation in the letter's place, in one transaction: the running cloud's, asked through its API,
 * or, when none runs, this program's own. So one command sends a letter once, however it ends.
 */
#include "birthmark/cmd.h"

#include "aws/aws.h"
#include "base/clock.h"
#include "birthmark/place.h"
#include "registry/registry.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: birthmark dead-letters [OPTION...]\n"
    "       birthmark dead-letters resend [OPTION...] ID... | --all\n"
    "\n"
    "Lists what was given up, newest first: events that a function failed on three times, and what "
    "an action of a\n"
    "rule without error action could not deliver. The newest 1000 are kept.\n"
    "\n"
    "resend gives letters of functions their three tries again, the oldest first; each is gone from "
    "the list with that.\n"
    "A cloud that runs is asked with the credentials of the aws CLI (test/test on loopback); when "
    "none runs, the next\n"
    "one invokes the functions.\n"
    "\n"
    "  --all          resend: every letter of a function\n"
    "  --payload ID   print what letter ID was to deliver, and nothing else\n"
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

/* ---- resend ---- */

struct resending {
    const char *dir;
    bool json;
    struct registry *own;     /* when no cloud runs: opened for writing */
    struct aws_client *cloud; /* else */
    struct registry_letter *letters;
    size_t count, room;
    unsigned sent, failed;
    enum bm_err worst;
};

/* Of the letter only what says where it goes. */
static void
take_letter(void *arg, const struct registry_letter *l)
{
    struct resending *re = arg;

    if (re->count == re->room) {
        size_t room = re->room != 0 ? 2 * re->room : 16;
        struct registry_letter *more = realloc(re->letters, room * sizeof *more);

        if (more == NULL)
            return; /* the rest is sent by the next command */
        re->letters = more;
        re->room = room;
    }
    re->letters[re->count] = *l;
    re->letters[re->count].payload = (struct buf){ 0 };
    re->letters[re->count++].detail = (struct buf){ 0 };
}

static enum bm_err
take_one(struct registry *r, int64_t id, struct resending *re, struct bm_msg *msg)
{
    struct registry_letter l;
    enum bm_err err = registry_letter_get(r, id, &l, msg);

    if (err == BM_OK)
        take_letter(re, &l);
    registry_letter_fini(&l);
    return err;
}

/* By the cloud: one attempt, for a second one might find the letter gone, and be told that. */
static enum bm_err
send_by_cloud(struct resending *re, const struct registry_letter *l, struct bm_msg *msg)
{
    char header[64];
    json_t *answer = NULL;
    const struct aws_request rq = { .service = "lambda",
        .method = "POST",
        .path = { "2015-03-31", "functions", l->target, "invocations" },
        .headers = { "X-Amz-Invocation-Type: Event", header } };
    enum bm_err err;

    (void)snprintf(header, sizeof header, "X-Birthmark-Dead-Letter: %" PRId64, l->id);
    err = aws_send(re->cloud, &rq, &answer, msg);
    json_decref(answer);
    return err;
}

static enum bm_err
send_here(struct resending *re, const struct registry_letter *l, struct bm_msg *msg)
{
    enum bm_err err = registry_letter_resend(re->own, l->id, NULL, msg);

    return err == BM_OK ? registry_commit(re->own, msg) : err;
}

static void
send_letter(struct resending *re, struct registry_letter *l)
{
    struct bm_msg msg = { "" };
    enum bm_err err = strcmp(l->kind, "function") != 0
                          ? bm_fail(&msg, BM_ERR_CONFLICT,
                                "what the action %s was to deliver is not sent again; `birthmark "
                                "dead-letters --payload %" PRId64 "` prints it",
                                l->kind, l->id)
                      : re->own != NULL ? send_here(re, l, &msg)
                                        : send_by_cloud(re, l, &msg);

    clean(l->target);
    if (err == BM_OK) {
        re->sent++;
        if (re->json)
            printf("{\"id\":%" PRId64 ",\"function\":\"%s\"}\n", l->id, l->target);
        else
            printf("%" PRId64 " is sent to the function %s again\n", l->id, l->target);
        (void)fflush(stdout); /* so what was said is what was sent, also when it is killed */
    } else {
        re->failed++;
        re->worst = err;
        fprintf(stderr, "birthmark dead-letters: %" PRId64 ": %s\n", l->id, msg.text);
    }
}

/* The cloud that runs on the folder, as it wrote it there, or the registry itself. */
static enum bm_err
sender(struct registry *r, struct resending *re, struct bm_msg *msg)
{
    const struct registry_options ro = { .dir = re->dir };
    struct place place;
    struct aws_options ao = { .attempts = 1 };
    enum bm_err err;

    if (!registry_written(re->dir))
        return registry_open(&ro, &re->own, msg);
    place_read(r, &place);
    ao.endpoint = place.of.api;
    ao.region = place.of.region;
    err = place.of.api == NULL ? bm_fail(msg, BM_ERR_CONFLICT,
                                     "another program writes to %s, and it is no cloud", re->dir)
                               : aws_open(&ao, &re->cloud, msg);
    place_fini(&place);
    return err;
}

/* ids: `count` of them; NULL: all letters of functions. */
static int
resend(const char *dir, char *const *ids, size_t count, bool json)
{
    const struct registry_options ro = { .dir = dir, .read_only = true };
    struct resending re = { .dir = dir, .json = json };
    struct registry *r = NULL;
    struct bm_msg msg = { "" };
    enum bm_err err = registry_open(&ro, &r, &msg);

    if (err == BM_OK && ids == NULL)
        err = registry_letter_list(r, REGISTRY_LETTERS_MAX, take_letter, &re, &msg);
    for (size_t i = count; err == BM_OK && i > 0; i--)
        err = take_one(r, strtoll(ids[i - 1], NULL, 10), &re, &msg);
    if (err == BM_OK && re.count > 0)
        err = sender(r, &re, &msg);
    registry_close(r);
    for (size_t i = re.count; err == BM_OK && i > 0; i--) { /* the list is newest first */
        if (ids != NULL || strcmp(re.letters[i - 1].kind, "function") == 0)
            send_letter(&re, &re.letters[i - 1]);
    }
    registry_close(re.own);
    aws_close(re.cloud);
    free(re.letters);
    if (err == BM_OK && re.sent + re.failed == 0 && !json)
        printf("none: there is no letter of a function\n");
    if (err == BM_OK && re.failed == 0)
        return EXIT_DONE;
    if (err != BM_OK)
        fprintf(stderr, "birthmark dead-letters: %s\n", msg.text);
    else
        err = re.worst;
    return err == BM_ERR_NOT_FOUND ? EXIT_NOT_FOUND : EXIT_FAILED;
}

static bool
is_number(const char *text)
{
    return *text != '\0' && strlen(text) < 19 && strspn(text, "0123456789") == strlen(text);
}

static int
cmd_resend(const struct cmd_common *common, int count, char **ids, bool all, bool json)
{
    if (all == (count > 0))
        return cmd_misuse("dead-letters", "resend wants letters' numbers, or --all");
    for (int i = 0; i < count; i++) {
        if (!is_number(ids[i]))
            return cmd_misuse("dead-letters", "resend wants letters' numbers, not '%s'", ids[i]);
    }
    return resend(common->dir, all ? NULL : ids, (size_t)count, json);
}

int
cmd_letters(int argc, char **argv)
{
    static const struct option options[] = { { "limit", required_argument, NULL, 'n' },
        { "json", no_argument, NULL, 'j' }, { "payload", required_argument, NULL, 'p' },
        { "all", no_argument, NULL, 'a' },
        CMD_COMMON_OPTIONS };
    struct cmd_common common = { .command = "dead-letters", .usage = usage };
    unsigned long limit = 100;
    long long payload_of = 0;
    bool json = false;
    bool all = false;
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
        if (opt == 'a')
            all = true;
        end = cmd_common_option(&common, opt);
    }
    if (end == CMD_GO_ON)
        end = cmd_common_end(&common);
    if (end != CMD_GO_ON)
        return end;
    if (optind < argc && strcmp(argv[optind], "resend") == 0)
        return cmd_resend(&common, argc - optind - 1, argv + optind + 1, all, json);
    if (optind < argc || all)
        return all ? cmd_misuse("dead-letters", "--all is for resend")
                   : cmd_misuse("dead-letters", "unexpected argument '%s'", argv[optind]);
    return run(common.dir, payload_of, limit, json);
}
