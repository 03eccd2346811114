/* SPDX-License-Identifier: Apache-2.0 */
/* `birthmark device`: the reference client. The table of its actions; each has a file. */
#include "birthmark/device.h"

#include <signal.h>
#include <string.h>

static const struct action {
    const char *name;
    int (*run)(struct device_options *o);
    bool local; /* connects to nothing */
} actions[] = {
    { "publish", device_publish, false },
    { "subscribe", device_subscribe, false },
    { "run", device_run, false },
    { "renew", device_renew, true },
    { "put", device_put, true },
    { "queue", device_queue, true },
};

enum { ACTION_COUNT = sizeof actions / sizeof *actions };

int
cmd_device(int argc, char **argv)
{
    struct device_options o = { 0 };
    const struct action *a = NULL;
    int end;

    for (size_t i = 0; argc > 1 && i < ACTION_COUNT; i++) {
        if (strcmp(argv[1], actions[i].name) == 0)
            a = &actions[i];
    }
    if (argc > 1 && a == NULL && argv[1][0] != '-')
        return cmd_misuse("device", "there is no action '%s'", argv[1]);
    if (a != NULL) {
        argc--;
        argv++;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets with write() */
    o.local = a != NULL && a->local;
    o.argc = argc;
    o.argv = argv;
    end = device_options_parse(argc, argv, &o);
    if (end == CMD_GO_ON && a == NULL)
        end =
            cmd_misuse("device", "what shall it do? publish, subscribe, run, put, queue or renew");
    if (end == CMD_GO_ON) {
        o.action = a->name;
        end = a->run(&o);
    }
    device_options_fini(&o);
    return end;
}
