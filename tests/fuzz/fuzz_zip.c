/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a function's package: no name and no link that gets out reaches the disk. */
#include "lambda/package.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum bm_err
on_folder(void *arg, const char *name, struct bm_msg *msg)
{
    (void)arg;
    (void)msg;
    if (!package_name_ok(name))
        abort();
    return BM_OK;
}

static enum bm_err
on_file(void *arg, const char *name, bool executable, struct bm_msg *msg)
{
    (void)executable;
    return on_folder(arg, name, msg);
}

/* A megabyte is enough to see a stream unpack; more only makes the fuzzer slow. */
static enum bm_err
on_data(void *arg, struct span data, struct bm_msg *msg)
{
    size_t *total = arg;

    (void)msg;
    *total += data.len;
    return *total > 1024 * 1024 ? BM_ERR_LIMIT : BM_OK;
}

static enum bm_err
on_link(void *arg, const char *name, const char *target, struct bm_msg *msg)
{
    if (!package_target_ok(name, target))
        abort();
    return on_folder(arg, name, msg);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t total = 0;
    const struct package_sink sink = { &total, on_folder, on_file, on_data, on_link };
    struct bm_msg msg;

    (void)package_read(span_of(data, size), &sink, &msg);
    return 0;
}
