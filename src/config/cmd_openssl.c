/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `openssl setup|check`: not the vendor's. Write the configuration that gives OpenSSL programs the
 * keys in the chip, and find out whether it does. Both work without a connection of the tool's
 * own; `check` signs once, the way a program would.
 */
#include "config/tool.h"

#include "openssl/check/check.h"
#include "openssl/setup/setup.h"

#include <getopt.h>
#include <string.h>

void
openssl_usage(FILE *to)
{
    fprintf(to,
        "usage: a71chConfig openssl setup [--file FILE] [--address ADDRESS] [--engine]\n"
        "                                 [--system OPENSSL_CNF] [--into]\n"
        "       a71chConfig openssl setup --remove [--system OPENSSL_CNF]\n"
        "       a71chConfig openssl check [--cert FILE] [--json] KEYFILE\n"
        "\n"
        "setup writes FILE (a71ch.cnf beside the system's openssl.cnf), to be named in "
        "OPENSSL_CONF.\n"
        "  --address ADDRESS     where the chip is; else each program's environment says it\n"
        "  --engine              the ENGINE instead of the provider\n"
        "  --system OPENSSL_CNF  build upon this file instead of OpenSSL's own\n"
        "  --into                for every program: add one line to that file, which includes "
        "FILE\n"
        "  --remove              take that line out again\n"
        "check loads KEYFILE as a program would, signs, verifies, and names what is wrong.\n"
        "  --cert FILE           the device's certificate: is it for this key?\n"
        "  --json                report as JSON\n");
}

static enum code
misuse(const char *what)
{
    fprintf(stderr, "openssl: %s\n", what);
    openssl_usage(stderr);
    return CODE_USAGE;
}

static enum code
code_of(enum bm_err err)
{
    switch (err) {
    case BM_OK:
        return CODE_OK;
    case BM_ERR_MEM:
        return CODE_MEMORY;
    case BM_ERR_ARG:
        return CODE_ARG_VALUE;
    default:
        return CODE_FILE_OPEN;
    }
}

static enum code
remove_line(const char *system)
{
    struct bm_msg msg = { "" };
    enum bm_err err = setup_remove(system, &msg);

    if (err != BM_OK)
        fprintf(stderr, "%s\n", msg.text);
    else
        printf("the line is out\n");
    return code_of(err);
}

static enum code
setup(int argc, char **argv)
{
    static const struct option options[] = { { "file", required_argument, NULL, 'f' },
        { "address", required_argument, NULL, 'a' }, { "system", required_argument, NULL, 's' },
        { "engine", no_argument, NULL, 'e' }, { "into", no_argument, NULL, 'i' },
        { "remove", no_argument, NULL, 'r' }, { 0 } };
    struct setup s = { 0 };
    bool remove = false;
    char written[SETUP_PATH_MAX];
    struct bm_msg msg = { "" };
    enum bm_err err;
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (opt) {
        case 'f':
            s.file = optarg;
            break;
        case 'a':
            s.address = optarg;
            break;
        case 's':
            s.system = optarg;
            break;
        case 'e':
            s.engine = true;
            break;
        case 'i':
            s.into = true;
            break;
        case 'r':
            remove = true;
            break;
        default:
            return misuse("unknown option, or its value is missing");
        }
    }
    if (optind != argc || (remove && (s.file != NULL || s.address != NULL || s.engine || s.into)))
        return misuse("these do not go together");
    if (remove)
        return remove_line(s.system);
    err = setup_write(&s, written, &msg);
    if (err != BM_OK) {
        fprintf(stderr, "%s\n", msg.text);
        return code_of(err);
    }
    printf("wrote %s\n", written);
    if (s.into)
        printf("every OpenSSL program uses it now; to check: a71chConfig openssl check KEYFILE\n");
    else
        printf("to use it:   export OPENSSL_CONF=%s\n"
               "to check it: OPENSSL_CONF=%s a71chConfig openssl check KEYFILE\n",
            written, written);
    return CODE_OK;
}

static enum code
check(const struct tool *t, int argc, char **argv)
{
    static const struct option options[] = { { "cert", required_argument, NULL, 'c' },
        { "json", no_argument, NULL, 'j' }, { 0 } };
    struct check_options o = { .json = t->json, .out = t->data };
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (opt) {
        case 'c':
            o.cert_path = optarg;
            break;
        case 'j':
            o.json = true;
            break;
        default:
            return misuse("unknown option, or its value is missing");
        }
    }
    if (optind + 1 != argc)
        return misuse("give one key file");
    o.key_path = argv[optind];
    return (enum code)openssl_check(&o);
}

enum code
cmd_openssl(const struct tool *t, char **words, size_t count)
{
    opterr = 0;
    if (count > 1 && strcmp(words[1], "setup") == 0)
        return setup((int)count - 1, &words[1]);
    if (count > 1 && strcmp(words[1], "check") == 0)
        return check(t, (int)count - 1, &words[1]);
    if (count > 1 && strcmp(words[1], "--help") == 0) {
        openssl_usage(stdout);
        return CODE_OK;
    }
    return misuse("say setup or check");
}
