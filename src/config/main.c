/* SPDX-License-Identifier: Apache-2.0 */
/*
 * a71chConfig: the vendor's configure tool, with its command line, output and exit codes. SPEC
 * a71ch 8.
 *
 * A command is one line of the table in commands.c and one file cmd_NAME.c. Every invocation
 * connects and selects the applet first, as the vendor's does; only `nc`, and what our own options
 * and commands ask for, needs no chip.
 */
#include "config/tool.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
print_atr(const struct tool *t)
{
    uint8_t atr[A71CH_ATR_MAX];
    size_t len = 0;
    struct rd r;

    if (a71ch_atr(t->chip, atr, sizeof atr, &len) != A71CH_OK || len == 0)
        return;
    printf(strncmp(a71ch_address(t->chip), "i2c:", 4) == 0 ? "SCI2C_ATR=0x" : "ATR=0x");
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

a71ch_result
tool_open(struct tool *t)
{
    a71ch_result res = a71ch_open(t->address, NULL, &t->chip);

    if (res == A71CH_OK && t->dry_run)
        dry_run_begin(t);
    return res;
}

static enum code
connect_and_run(struct tool *t, char *const *words, size_t count)
{
    a71ch_result res;

    if (!t->json)
        printf("a71chConfig (Rev 1.20) .. connect to A71CH. Chunksize at link layer = 256.\n");
    res = tool_open(t);
    if (res == A71CH_OK && !t->json)
        print_banner(t);
    return res == A71CH_OK ? tool_run(t, words, count) : select_failed(t, res);
}

static enum code
run_without_connection(struct tool *t, char *const *words, size_t count)
{
    if (!t->json)
        printf("a71chConfig (Rev 1.20) .. NOT connecting to A71CH.\n");
    return tool_run(t, words, count);
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

/* `gen --help`, `set pair --help`: ours, and like --help it asks for no chip. */
static bool
asks_for_help(char *const *words, size_t count)
{
    return (count == 2 || count == 3) && tool_is_command(words[0]) &&
           strcmp(words[count - 1], "--help") == 0;
}

/*
 * The address is the first word, as the vendor has it. It always has a colon and a command never
 * has, so that a first word that is a command leaves the address to the environment.
 */
static enum code
start(struct tool *t, char **words, size_t count)
{
    const char *command;

    if (count == 0 && getenv("A71CH_ADDRESS") == NULL && getenv("RJCT_SERVER_ADDR") == NULL) {
        printf("a71chConfig (Rev 1.20) .. connect to A71CH. Chunksize at link layer = 256.\n"
               "==========SELECT-FAILED=========\nSelect failed. SW = 0x0004\n");
        fprintf(stderr, "no address given; write HOST:PORT or unix:PATH first, or see --help\n");
        return CODE_SELECT;
    }
    if (count > 0 && !tool_is_command(words[0])) {
        t->address = words[0];
        words = &words[1];
        count--;
    }
    command = count > 0 ? words[0] : "";
    if (strcmp(command, "help") == 0 && t->address == NULL) {
        tool_usage(t);
        return CODE_OK;
    }
    if (asks_for_help(words, count)) {
        if (strcmp(command, "openssl") == 0)
            openssl_usage(stdout);
        else
            tool_command_usage(command);
        return CODE_OK;
    }
    if (strcmp(command, "openssl") == 0)
        return cmd_openssl(t, words, count);
    /* from here on OpenSSL is a tool of ours: the user's configuration may hand keys to a chip */
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    if (strcmp(command, "probe") == 0)
        return tool_run(t, words, count); /* it connects itself, and tells each step */
    if (strcmp(command, "nc") == 0)
        return run_without_connection(t, &words[1], count - 1);
    return connect_and_run(t, words, count);
}

/* Ours, in front of the command: at most the address comes before. True when all is done. */
static bool
own_option(struct tool *t, const char *word, bool *taken)
{
    *taken = true;
    if (strcmp(word, "--help") == 0) {
        tool_usage(t);
        return true;
    }
    if (strcmp(word, "--version") == 0) {
        printf("a71chConfig %s\n", a71ch_version());
        return true;
    }
    if (strcmp(word, "--json") == 0)
        t->json = true;
    else if (strcmp(word, "--dry-run") == 0)
        t->dry_run = true;
    else if (strcmp(word, "--yes") == 0)
        t->yes = true;
    else
        *taken = false;
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

        if (count == 0 || (count == 1 && !tool_is_command(words[0])))
            done = own_option(&t, argv[i], &taken);
        if (!taken)
            words[count++] = argv[i];
    }
    if (!done)
        code = split_output(&t) ? start(&t, words, count) : CODE_MEMORY;
    a71ch_close(t.chip);
    free(words);
    return t.data != NULL ? finish(&t, code) : (int)code;
}
