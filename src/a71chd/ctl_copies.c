/* SPDX-License-Identifier: Apache-2.0 */
/* Control commands snapshot, restore, list and fork: chip.h does it. */
#include "a71chd/control.h"
#include "chip/chip.h"

#include <stdlib.h>
#include <time.h>

static enum bm_err
simulated(struct control_call *call, struct chip **out, struct bm_msg *msg)
{
    *out = backend_sim_chip(call->chip);
    return *out != NULL ? BM_OK
                        : bm_fail(msg, BM_ERR_CONFLICT,
                              "only a simulated chip can be copied: a real one keeps its keys");
}

static void
answer_word(struct control_call *call, const char *name)
{
    buf_addf(call->out, "{\"%s\":", name);
    buf_add_json(call->out, call->words[0]);
    buf_add(call->out, "}", 1);
}

enum bm_err
run_snapshot(struct control_call *call, struct bm_msg *msg)
{
    struct chip *chip;
    enum bm_err err = simulated(call, &chip, msg);

    if (err == BM_OK)
        err = chip_snapshot(chip, call->words[0], msg);
    if (err == BM_OK)
        answer_word(call, "snapshot");
    return err;
}

enum bm_err
run_restore(struct control_call *call, struct bm_msg *msg)
{
    struct chip *chip;
    enum bm_err err = simulated(call, &chip, msg);

    if (err == BM_OK)
        err = chip_restore(chip, call->words[0], msg);
    if (err == BM_OK)
        answer_word(call, "restored");
    return err;
}

enum bm_err
run_fork(struct control_call *call, struct bm_msg *msg)
{
    struct chip *chip;
    enum bm_err err = simulated(call, &chip, msg);

    if (err == BM_OK && call->words[0][0] != '/' && call->server != NULL)
        err = bm_fail(msg, BM_ERR_ARG,
            "%s: give the folder's whole path, the a71chd that makes it works elsewhere",
            call->words[0]);
    if (err == BM_OK)
        err = chip_fork(chip, call->words[0], msg);
    if (err == BM_OK)
        answer_word(call, "fork");
    return err;
}

enum bm_err
run_list(struct control_call *call, struct bm_msg *msg)
{
    struct chip *chip;
    struct chip_copy *all = NULL;
    size_t count = 0;
    enum bm_err err = simulated(call, &chip, msg);

    if (err == BM_OK)
        err = chip_snapshots(chip, &all, &count, msg);
    if (err != BM_OK)
        return err;
    buf_addf(call->out, "{\"snapshots\":[");
    for (size_t i = 0; i < count; i++) {
        char made[32];
        struct tm tm;
        time_t t = all[i].made;

        (void)strftime(made, sizeof made, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
        buf_addf(call->out, "%s{\"name\":\"%s\",\"made\":\"%s\"}", i > 0 ? "," : "", all[i].name,
            made); /* a name needs no escape */
    }
    buf_addf(call->out, "]}");
    free(all);
    return BM_OK;
}
