/* SPDX-License-Identifier: Apache-2.0 */
/*
 * a71chConfig: the vendor's configure tool, with its command line, output and exit codes. SPEC
 * a71ch 8.
 *
 * A command is one line of the table below and one file cmd_NAME.c. Every invocation connects and
 * selects the applet first, as the vendor's does; only what our own options ask for needs no chip.
 */
#include "config/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
    const char *name;
    command_fn run; /* NULL: in the vendor's tool, not built here */
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

static const struct command commands[] = {
    { "apdu", cmd_apdu, "-cmd HEX -sw HEX", "send one raw command, expect this status word" },
    { "connect", NULL, NULL, NULL },
    { "debug", cmd_debug, "reset", "wipe an evaluation chip" },
    { "ecrt", NULL, NULL, NULL },
    { "erase", cmd_erase, "pair|pub -x N", "empty a slot" },
    { "gen", cmd_gen, "pair -x N", "let the chip make a key pair" },
    { "get", cmd_get, "pub -c 10|20 -x N -k FILE", "write a public key of the chip as PEM" },
    { "help", cmd_help, "", "this text" },
    { "info", cmd_info, "all|cnt|device|pair|pub|status|gp -h OFFSET -n SEGMENTS",
        "what the chip says of itself" },
    { "interactive", NULL, NULL, NULL },
    { "lock", NULL, NULL, NULL },
    { "nc", NULL, NULL, NULL },
    { "obj", NULL, NULL, NULL },
    { "openssl", openssl_without_connection, "setup|check ...",
        "keys of the chip for OpenSSL programs; see openssl --help" },
    { "psk", cmd_psk, "hmac|native -x N (-k FILE | -h PSK)",
        "store a pre-shared key of TLS from slot N on, print its reference" },
    { "rcrt", NULL, NULL, NULL },
    { "refpem", cmd_refpem, "-c 10|20 -x N [-k FILE] -r FILE",
        "write a reference key that names slot N" },
    { "scp", cmd_scp, "put|auth -h VERSION -k FILE",
        "give the chip its SCP03 keys, once; open the channel for the rest of a script" },
    { "scp", cmd_scp, "clear_host", "forget the channel here; the chip is told nothing" },
    { "script", cmd_script, "-f FILE", "run the commands in a file over one connection" },
    { "set", cmd_set, "pair -x N (-k FILE | -h PUBLIC -h PRIVATE)", "put a key pair into slot N" },
    { "set", NULL, "pub -x N (-k FILE | -h PUBLIC)", "put a public key into slot N" },
    { "set", NULL, "gp -h OFFSET -h DATA", "write general-purpose storage" },
    { "transport", NULL, NULL, NULL },
    { "ucrt", NULL, NULL, NULL },
    { "wcrt", NULL, NULL, NULL },
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

void
tool_usage(void)
{
    printf("usage: a71chConfig [--json] [ADDRESS] COMMAND ...\n"
           "ADDRESS: HOST:PORT, unix:PATH or i2c:DEVICE; without it A71CH_ADDRESS or "
           "127.0.0.1:8050\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].options != NULL)
            printf("  %s%s%s\n      %s\n", commands[i].name,
                commands[i].options[0] != '\0' ? " " : "", commands[i].options, commands[i].help);
    }
    printf("\nN is decimal; HEX, OFFSET, DATA and keys are hexadecimal without 0x; options stand "
           "in this "
           "order.\nNot built here (exit code 20):");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].options == NULL)
            printf(" %s", commands[i].name);
    }
    printf("\n");
}

enum code
cmd_help(struct tool *t, struct args *a)
{
    (void)t;
    (void)a;
    tool_usage();
    return CODE_OK;
}

enum code
tool_not_implemented(const char *what)
{
    fprintf(stderr,
        "%s is part of the vendor's tool but not implemented here yet; nothing was sent\n", what);
    return CODE_NOT_IMPLEMENTED;
}

enum code
tool_sub(struct tool *t, struct args *a, const char *command, const struct sub *subs)
{
    const char *name = a->next < a->count ? a->words[a->next] : NULL;
    char what[64];

    if (name == NULL) {
        tool_usage();
        return CODE_ARG_COUNT;
    }
    for (; subs->name != NULL; subs = &subs[1]) {
        if (strcmp(subs->name, name) != 0)
            continue;
        a->next++;
        if (subs->run != NULL)
            return subs->run(t, a);
        (void)snprintf(what, sizeof what, "'%s %s'", command, name);
        return tool_not_implemented(what);
    }
    printf("%s is an unknown command option.\n", name);
    tool_usage();
    return CODE_USAGE;
}

/* What the vendor's library would have said where no status word came. SPEC a71ch 7.5. */
uint16_t
tool_host_code(const a71ch *chip, a71ch_result result)
{
    switch (result) {
    case A71CH_OK:
        return 0x9000;
    case A71CH_ERR_STATUS:
        return a71ch_status_word(chip);
    case A71CH_ERR_SELECT:
        /* SPEC a71ch 1.1: an absent applet is passed on, all else becomes one code */
        return a71ch_status_word(chip) == 0x6a82 ? 0x6a82 : HOST_SELECT_FAILED;
    case A71CH_ERR_CONNECT:
        return 0x0002; /* SPEC a71ch 8.4 */
    case A71CH_ERR_ADDRESS:
        return 0x0003;
    case A71CH_ERR_ARG:
    case A71CH_ERR_SPACE:
        return HOST_PARAMETER;
    case A71CH_ERR_IO:
    case A71CH_ERR_TIMEOUT:
    case A71CH_ERR_BUSY:
        return HOST_COMMUNICATION;
    case A71CH_ERR_RESPONSE:
        return HOST_WRONG_RESPONSE;
    case A71CH_ERR_MEMORY:
    case A71CH_ERR_FULL:
        return HOST_MEMORY;
    case A71CH_ERR_EXISTS:
        return HOST_EXISTS;
    case A71CH_ERR_FROZEN:
        return HOST_TABLE_LOCKED;
    case A71CH_ERR_NOT_FOUND:
    case A71CH_ERR_UNSUPPORTED:
        return HOST_PARAMETER;
    case A71CH_ERR_CHANNEL:
        return HOST_SCP_FAILED;
    case A71CH_ERR_CRYPTOGRAM:
        return HOST_SCP_CRYPTOGRAM;
    case A71CH_ERR_MAC:
        return HOST_SCP_MAC;
    case A71CH_ERR_PADDING:
        return HOST_SCP_PADDING;
    }
    return HOST_WRONG_RESPONSE;
}

enum code
tool_chip_failed(struct tool *t, a71ch_result result)
{
    t->sw = tool_host_code(t->chip, result);
    fprintf(stderr, "%s\n", a71ch_message(t->chip));
    return CODE_FAILED;
}

static const char *
code_text(enum code code)
{
    switch (code) {
    case CODE_OK:
        return "exec ok";
    case CODE_FAILED:
        return "exec failed";
    case CODE_SELECT:
        return "err select fails";
    case CODE_NOT_IMPLEMENTED:
        return "not implemented";
    case CODE_USAGE:
        return "check usage";
    case CODE_FILE_OPEN:
        return "file open failed";
    case CODE_PEM_READ:
        return "pemfile read failed";
    case CODE_PEM_WRITE:
        return "pemfile write failed";
    case CODE_CURVE:
        return "bit curve error";
    case CODE_MEMORY:
        return "dyn alloc error";
    case CODE_HALTED:
        return "exec halted";
    case CODE_FILE_FORMAT:
        return "file format error";
    case CODE_ARG_RANGE:
        return "arg range error";
    case CODE_ARG_OPTION:
        return "arg option error";
    case CODE_ARG_COUNT:
        return "arg count mistake";
    case CODE_ARG_VALUE:
        return "arg value error";
    }
    return "unknown";
}

/* SPEC a71ch 8.5. A script's failing line has spoken for the script already. */
static enum code
report(struct tool *t, enum code code)
{
    if (code == CODE_OK || t->reported)
        return code;
    if (code == CODE_FAILED)
        printf("Command Failed (%s (%d): sw=0x%04X)\n", code_text(code), (int)code, t->sw);
    else
        printf("Command Failed (%s (%d))\n", code_text(code), (int)code);
    t->reported = true;
    return code;
}

static enum code
dispatch(struct tool *t, char *const *words, size_t count)
{
    struct args rest = { words, count, 1 };
    const struct command *c;

    if (count == 0) {
        tool_usage();
        return t->in_script ? CODE_ARG_COUNT : CODE_USAGE; /* SPEC a71ch 8.6, 8.1 */
    }
    c = find(words[0]);
    if (c == NULL) {
        printf("'%s' is an unknown command\n", words[0]);
        tool_usage();
        return CODE_USAGE;
    }
    if (c->run == NULL)
        return tool_not_implemented(c->name);
    if (t->json && c->run != cmd_info && c->run != cmd_get && c->run != cmd_psk) {
        fprintf(stderr, "--json goes with 'info', 'get' and 'psk' only\n");
        return CODE_USAGE;
    }
    return c->run(t, &rest);
}

enum code
tool_run(struct tool *t, char *const *words, size_t count)
{
    t->sw = 0;
    t->reported = false;
    return report(t, dispatch(t, words, count));
}

static void
print_atr(const struct tool *t)
{
    uint8_t atr[A71CH_ATR_MAX];
    size_t len = 0;
    struct rd r;

    if (a71ch_atr(t->chip, atr, sizeof atr, &len) != A71CH_OK || len == 0)
        return;
    printf("ATR=0x");
    for (r = rd_of(span_of(atr, len)); rd_left(&r) > 0;)
        printf("%02X.", rd_u8(&r));
    (void)putchar('\n');
}

/* SPEC a71ch 8.4. Revision and library version are those of the tool whose output this is. */
static void
print_banner(const struct tool *t)
{
    unsigned applet = a71ch_applet_version(t->chip);
    unsigned securebox = a71ch_securebox_version(t->chip);

    print_atr(t);
    printf("HostLib Version  : 0x0140\nApplet Version   : 0x%04X\nSecureBox Version: 0x%04X\n",
        applet, securebox);
    printf("\n==========SELECT-DONE=========\n");
    printf("HostLib Version            : 0x0140\nApplet-Rev:SecureBox-Rev   : 0x%04X:0x%04X\n",
        applet, securebox);
}

static enum code
select_failed(const struct tool *t, a71ch_result result)
{
    unsigned sw = t->chip != NULL ? tool_host_code(t->chip, result) : HOST_MEMORY;

    if (result == A71CH_ERR_TIMEOUT && a71ch_applet_version(t->chip) == 0)
        sw = 0x0002;
    if (sw == 0x0002)
        printf("SM_Connect failed with status 0x7001\n");
    printf("==========SELECT-FAILED=========\nSelect failed. SW = 0x%04X\n", sw);
    fprintf(stderr, "%s\n", t->chip != NULL ? a71ch_message(t->chip) : "out of memory");
    return CODE_SELECT;
}

static enum code
connect_and_run(struct tool *t, const char *address, char *const *words, size_t count)
{
    enum code code;
    a71ch_result res;

    if (!t->json)
        printf("a71chConfig (Rev 1.20) .. connect to A71CH. Chunksize at link layer = 256.\n");
    res = a71ch_open(address, NULL, &t->chip);
    if (res == A71CH_OK && !t->json)
        print_banner(t);
    code = res == A71CH_OK ? tool_run(t, words, count) : select_failed(t, res);
    a71ch_close(t->chip);
    return code;
}

/* With --json, stdout is data only: what the vendor's tool would print there goes to stderr. */
static bool
split_output(struct tool *t)
{
    int fd;

    t->data = stdout;
    if (!t->json)
        return true;
    fd = dup(STDOUT_FILENO);
    if (fd < 0)
        return false;
    t->data = fdopen(fd, "w");
    return t->data != NULL && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0;
}

/* A full disk must not look like success. */
static int
finish(struct tool *t, enum code code)
{
    bool ok = fflush(t->data) == 0 && !ferror(t->data) && fflush(stdout) == 0 && !ferror(stdout);

    if (t->data != stdout)
        ok = fclose(t->data) == 0 && ok;
    if (ok)
        return (int)code;
    fprintf(stderr, "cannot write the output\n");
    return code == CODE_OK ? CODE_FAILED : (int)code;
}

/*
 * The address is the first word, as the vendor has it. It always has a colon and a command never
 * has, so that a first word that is a command leaves the address to the environment.
 */
static enum code
start(struct tool *t, char **words, size_t count)
{
    const char *address = NULL;
    size_t used = 0;

    if (count > 0 && find(words[0]) == NULL) {
        address = words[0];
        used = 1;
    }
    if (count == 0 && getenv("A71CH_ADDRESS") == NULL && getenv("RJCT_SERVER_ADDR") == NULL) {
        printf("a71chConfig (Rev 1.20) .. connect to A71CH. Chunksize at link layer = 256.\n"
               "==========SELECT-FAILED=========\nSelect failed. SW = 0x0004\n");
        fprintf(stderr, "no address given; write HOST:PORT or unix:PATH first, or see --help\n");
        return CODE_SELECT;
    }
    if (used == 0 && count > 0 && strcmp(words[0], "help") == 0) {
        tool_usage();
        return CODE_OK;
    }
    if (count > used && strcmp(words[used], "openssl") == 0)
        return cmd_openssl(t, &words[used], count - used);
    return connect_and_run(t, address, &words[used], count - used);
}

/* Ours, in front of the command: at most the address comes before. True when all is done. */
static bool
own_option(struct tool *t, const char *word, bool *taken)
{
    *taken = true;
    if (strcmp(word, "--help") == 0) {
        tool_usage();
        return true;
    }
    if (strcmp(word, "--version") == 0) {
        printf("a71chConfig %s\n", a71ch_version());
        return true;
    }
    *taken = strcmp(word, "--json") == 0;
    t->json = t->json || *taken;
    return false;
}

int
main(int argc, char **argv)
{
    struct tool t = { .data = stdout };
    char **words = calloc((size_t)argc + 1, sizeof *words);
    size_t count = 0;
    bool done = false;
    enum code code = CODE_OK;

    if (words == NULL)
        return CODE_MEMORY;
    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* so that it interleaves with stderr as it happened */
    for (int i = 1; i < argc && !done; i++) {
        bool taken = false;

        if (count == 0 || (count == 1 && find(words[0]) == NULL))
            done = own_option(&t, argv[i], &taken);
        if (!taken)
            words[count++] = argv[i];
    }
    if (!done)
        code = split_output(&t) ? start(&t, words, count) : CODE_MEMORY;
    free(words);
    return t.data != NULL ? finish(&t, code) : (int)code;
}
