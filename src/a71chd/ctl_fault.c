/* SPDX-License-Identifier: Apache-2.0 */
/* Control command fault: the rules of a simulated chip while it runs. */
#include "a71chd/control.h"

#include <string.h>

enum bm_err
run_fault(struct control_call *call, struct bm_msg *msg)
{
    struct sim_options *o = backend_sim_options(call->chip);
    const char *verb = call->words[0];
    enum bm_err err = BM_OK;

    if (o == NULL)
        return bm_fail(msg, BM_ERR_CONFLICT, "only a simulated chip has faults on purpose");
    if (strcmp(verb, "add") == 0 && call->count == 2)
        err = faults_add(&o->faults, call->words[1], msg);
    else if (strcmp(verb, "clear") == 0 && call->count == 1)
        o->faults.count = 0;
    else if (strcmp(verb, "list") != 0 || call->count != 1)
        err = bm_fail(msg, BM_ERR_ARG, "want: fault add RULE, fault list or fault clear");
    if (err != BM_OK)
        return err;
    buf_addf(call->out, "{\"faults\":");
    faults_list(&o->faults, call->out);
    buf_add(call->out, "}", 1);
    return BM_OK;
}
