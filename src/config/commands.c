/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of commands, and how words become a command that runs. SPEC a71ch 8.1, 8.5.
 */
#include "config/tool.h"

#include <stdio.h>
#include <string.h>

enum {
    NO_CHIP = 1, /* works without a connection */
    JSON = 2,    /* --json is for it */
};

struct command {
    const char *name;
    command_fn run; /* of the first line of a name */
    unsigned flags;
    const char *options;
    const char *help;
};

/* start() takes this command before it connects; a script comes here. */
static enum code
openssl_without_connection(struct tool *t, struct args *a)
{
    (void)t;
    (void)a;
    fprintf(stderr, "openssl is not for scripts: it works without a connection to the chip\n");
    return CODE_USAGE;
}

/* main() takes this word before it connects. */
static enum code
nc_inside(struct tool *t, struct args *a)
{
    (void)t;
    (void)a;
    fprintf(stderr, "nc stands before the command of a whole run; here, 'connect close' does it\n");
    return CODE_USAGE;
}

static const struct command commands[] = {
    { "apdu", cmd_apdu, 0, "-cmd HEX -sw HEX", "send one raw command, expect this status word" },
    { "connect", cmd_connect, NO_CHIP, "close|open", "give the link back, take it again" },
    { "csr", cmd_csr, 0, "-x N -s SUBJECT -f FILE",
        "write a certificate request, signed by key pair N" },
    { "debug", cmd_debug, 0, "reset|permanently_disable_debug",
        "wipe an evaluation chip; make it a production chip" },
    { "ecrt", cmd_ecrt, 0, "-x N", "erase a certificate" },
    { "erase", cmd_erase, 0, "pair|pub|sym|cnt -x N", "empty a slot; set a counter to 0" },
    { "gen", cmd_gen, 0, "pair -x N", "let the chip make a key pair" },
    { "get", cmd_get, JSON, "pub -c 10|20 -x N -k FILE", "write a public key of the chip as PEM" },
    { "help", cmd_help, NO_CHIP, "", "this text" },
    { "info", cmd_info, JSON, "all|cnt|device|objects|pair|pub|status|gp -h OFFSET -n SEGMENTS",
        "what the chip says of itself" },
    { "interactive", cmd_interactive, NO_CHIP, "", "commands from the keyboard, until quit" },
    { "lock", cmd_lock, 0, "pair|pub -x N", "freeze a slot, for good" },
    { "lock", NULL, 0, "gp -h OFFSET -n SEGMENTS", "freeze storage, for good" },
    { "lock", NULL, 0, "inject_plain", "no key in the clear any more, for good" },
    { "nc", nc_inside, NO_CHIP, "COMMAND ...", "run a command without connecting" },
    { "obj", cmd_obj, JSON, "write -x N (-h DATA | -f FILE [-t FORM] | -n SEGMENTS)",
        "store a data object" },
    { "obj", NULL, 0, "get -x N [-h OFFSET] [-s SIZE] [-f FILE [-t FORM]]", "read it" },
    { "obj", NULL, 0, "update -x N -h OFFSET (-h DATA | -f FILE [-t FORM])", "change it" },
    { "obj", NULL, 0, "erase -x N", "remove it" },
    { "openssl", openssl_without_connection, NO_CHIP, "setup|check ...",
        "keys of the chip for OpenSSL programs; see openssl --help" },
    { "probe", cmd_probe, NO_CHIP | JSON, "",
        "is the chip there, and if not, what is in the way?" },
    { "psk", cmd_psk, JSON, "hmac|native -x N (-k FILE | -h PSK)",
        "store a pre-shared key of TLS from slot N on, print its reference" },
    { "rcrt", cmd_rcrt, JSON, "-x N [-c FILE]", "read a certificate" },
    { "refpem", cmd_refpem, NO_CHIP, "-c 10|20 -x N [-k FILE] -r FILE",
        "write a reference key that names slot N" },
    { "scp", cmd_scp, 0, "put|auth -h VERSION -k FILE",
        "give the chip its SCP03 keys, once; open the channel for the rest of a script" },
    { "scp", NULL, 0, "clear_host", "forget the channel here; the chip is told nothing" },
    { "script", cmd_script, NO_CHIP, "-f FILE", "run the commands in a file over one connection" },
    { "set", cmd_set, 0, "pair -x N (-k FILE | -h PUBLIC -h PRIVATE) [-w KEY]",
        "put a key pair into slot N" },
    { "set", NULL, 0, "pub -x N (-k FILE | -h PUBLIC) [-w KEY]", "put a public key into slot N" },
    { "set", NULL, 0, "cfg|sym -x N -h KEY [-w KEY]", "put a configuration or symmetric key" },
    { "set", NULL, 0, "cnt -x N -h VALUE", "raise a counter" },
    { "set", NULL, 0, "gp -h OFFSET (-h DATA | -c FILE)", "write general-purpose storage" },
    { "transport", cmd_transport, 0, "lock|unlock -h KEY", "lock the chip for its way, once" },
    { "ucrt", cmd_ucrt, 0, "-x N (-c FILE | -h DER | -p FILE)", "replace a certificate" },
    { "wcrt", cmd_wcrt, 0, "-x N (-c FILE | -h DER | -p FILE) [-n SEGMENTS]",
        "store a certificate" },
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static const struct command *
find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

bool
tool_is_command(const char *word)
{
    return find(word) != NULL;
}

/* NULL: all of them. */
static void
print_commands(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const struct command *c = &commands[i];

        if (name == NULL || strcmp(c->name, name) == 0)
            printf("  %s%s%s\n      %s\n", c->name, c->options[0] != '\0' ? " " : "", c->options,
                c->help);
    }
    printf("\nN is decimal; HEX, OFFSET, DATA, SIZE and keys are hexadecimal without 0x; options "
           "stand in this order.\n");
}

void
tool_command_usage(const char *name)
{
    printf("usage: a71chConfig [--json] [--dry-run] [--yes] [ADDRESS] COMMAND ...\n\n");
    print_commands(name);
}

void
tool_usage(const struct tool *t)
{
    printf("usage: %s COMMAND ...\n",
        t->interactive ? "interactive" : "a71chConfig [--json] [--dry-run] [--yes] [ADDRESS]");
    if (!t->interactive)
        printf("ADDRESS: HOST:PORT, unix:PATH, i2c:DEVICE or sim:FOLDER; without it A71CH_ADDRESS "
               "or 127.0.0.1:8050\n");
    printf("\n");
    print_commands(NULL);
}

enum code
cmd_help(struct tool *t, struct args *a)
{
    (void)a;
    tool_usage(t);
    return CODE_OK;
}

enum code
tool_sub(struct tool *t, struct args *a, const char *command, const struct sub *subs)
{
    const char *name = a->next < a->count ? a->words[a->next] : NULL;

    if (name == NULL) {
        tool_usage(t);
        return CODE_ARG_COUNT;
    }
    for (; subs->name != NULL; subs = &subs[1]) {
        if (strcmp(subs->name, name) != 0)
            continue;
        a->next++;
        return subs->run(t, a);
    }
    if (strcmp(command, "transport") == 0)
        printf("'%s' is an unknown command option.\n", name); /* SPEC 8.2: it alone quotes */
    else
        printf("%s is an unknown command option.\n", name);
    tool_usage(t);
    return CODE_USAGE;
}

/* SPEC a71ch 8.5. A script's failing line has spoken for the script already. */
static enum code
report(struct tool *t, enum code code)
{
    if (code == CODE_OK || t->reported)
        return code;
    if (code == CODE_FAILED)
        printf("Command Failed (%s (%d): sw=0x%04X)\n", tool_code_text(code), (int)code, t->sw);
    else
        printf("Command Failed (%s (%d))\n", tool_code_text(code), (int)code);
    t->reported = true;
    return code;
}

/* After `connect close`, `nc`, or a link that could not be opened again. */
enum code
tool_need_chip(struct tool *t)
{
    if (t->chip != NULL)
        return CODE_OK;
    fprintf(stderr, "there is no connection to a chip; 'connect open' makes one\n");
    t->sw = HOST_NOT_CONNECTED;
    return CODE_FAILED;
}

static enum code
dispatch(struct tool *t, char *const *words, size_t count)
{
    struct args rest = { words, count, 1 };
    const struct command *c;
    enum code code = CODE_OK;

    if (count == 0) {
        tool_usage(t);
        return t->in_script || t->interactive ? CODE_ARG_COUNT : CODE_USAGE; /* SPEC 8.6, 8.1 */
    }
    c = find(words[0]);
    if (c == NULL) {
        printf("'%s' is an unknown command\n", words[0]);
        tool_usage(t);
        return CODE_USAGE;
    }
    if (t->json && (c->flags & JSON) == 0) {
        fprintf(
            stderr, "--json goes with what prints data: info, get, obj get, rcrt, psk and probe\n");
        return CODE_USAGE;
    }
    if ((c->flags & NO_CHIP) == 0)
        code = tool_need_chip(t);
    return code == CODE_OK ? c->run(t, &rest) : code;
}

enum code
tool_run(struct tool *t, char *const *words, size_t count)
{
    bool yes = t->interactive && !t->in_script && count > 0 && strcmp(words[0], "--yes") == 0;

    t->sw = 0;
    t->reported = false;
    t->yes_once = yes;
    return report(t, dispatch(t, yes ? &words[1] : words, yes ? count - 1 : count));
}
