/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program `birthmark`: a table of sub-commands.
 */
#include "birthmark/cmd.h"

#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    { "ca", cmd_ca, "certificate authorities for devices, and their registration at the cloud" },
    { "cloud", cmd_cloud,
        "the local cloud: AWS IoT control plane and MQTT endpoint, in the foreground" },
    { "dead-letters", cmd_letters, "what was given up after its retries, and why" },
    { "device", cmd_device,
        "the reference client: connect with a key in a chip, and stay connected" },
    { "doctor", cmd_doctor, "on the device's side: what will go wrong when it connects" },
    { "explain", cmd_explain, "what happened to a certificate, a client or an address, in order, and why" },
    { "export", cmd_export, "the state of a cloud as JSON lines" },
    { "factory", cmd_factory, "gives many chips their keys and certificates, and may be interrupted" },
    { "fleet", cmd_fleet, "thousands of simulated devices that join, publish, storm and misbehave" },
    { "import", cmd_import, "take such lines in, a whole fleet's certificates for instance" },
    { "logs", cmd_logs, "what a function printed" },
    { "policy", cmd_policy, "is a policy document well-formed, and what does it allow?" },
    { "version", cmd_version, "the version" },
    { "watch", cmd_watch, "a live table of connects and refusals in the terminal" },
};

enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static void
print_help(FILE *to)
{
    fprintf(to, "usage: birthmark COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].help);
    fprintf(to, "\n`birthmark COMMAND --help` says more; so does birthmark(1).\n");
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0)
        return cmd_version(1, argv);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    fprintf(
        stderr, "birthmark: there is no command '%s'; `birthmark --help` lists them\n", argv[1]);
    return EXIT_USAGE;
}
