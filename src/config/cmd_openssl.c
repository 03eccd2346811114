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
        "                                 [--system OPENSSL_CNF] [--into] [--psk hmac|native]\n"
        "                                 [--psk-pair N] [--psk-pair-renew]\n"
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
        "  --psk hmac            pre-shared keys of `psk hmac`, too\n"
        "  --psk native          those of `psk native`: a file for one TLS 1.2 client, not for --into\n"
        "  --psk-pair N          native: key pair 0..3 for ECDHE_PSK; any other ECDHE on P-256 fails\n"
        "  --psk-pair-renew      the chip makes that pair anew after each handshake\n"
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

static bool
psk_of(const char *word, enum setup_psk *out)
{
    *out = strcmp(word, "hmac") == 0 ? SETUP_PSK_HMAC : SETUP_PSK_NATIVE;
    return *out == SETUP_PSK_HMAC || strcmp(word, "native") == 0;
}

/* NULL: the options go together. */
static const char *
clash(const struct setup *s, bool remove)
{
    if (remove && (s->file != NULL || s->address != NULL || s->engine || s->into ||
                      s->psk != SETUP_NO_PSK || s->pair != NULL || s->renew))
        return "--remove goes with --system only";
    if (s->psk != SETUP_NO_PSK && s->engine)
        return "the ENGINE has no pre-shared keys; leave --engine out";
    if (s->psk == SETUP_PSK_NATIVE && s->into)
        return "--psk native is for one client program, so not for --into";
    if (s->pair != NULL && s->psk != SETUP_PSK_NATIVE)
        return "--psk-pair goes with --psk native only";
    if (s->pair != NULL && (s->pair[0] < '0' || s->pair[0] > '3' || s->pair[1] != '\0'))
        return "--psk-pair wants 0, 1, 2 or 3";
    if (s->renew && s->pair == NULL)
        return "--psk-pair-renew goes with --psk-pair only";
    return NULL;
}

static enum code
setup(int argc, char **argv)
{
    static const struct option options[] = { { "file", required_argument, NULL, 'f' },
        { "address", required_argument, NULL, 'a' }, { "system", required_argument, NULL, 's' },
        { "engine", no_argument, NULL, 'e' }, { "into", no_argument, NULL, 'i' },
        { "remove", no_argument, NULL, 'r' }, { "psk", required_argument, NULL, 'k' },
        { "psk-pair", required_argument, NULL, 'p' },
        { "psk-pair-renew", no_argument, NULL, 'n' }, { 0 } };
    struct setup s = { 0 };
    bool remove = false;
    const char *wrong;
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
        case 'k':
            if (!psk_of(optarg, &s.psk))
                return misuse("--psk wants hmac or native");
            break;
        case 'p':
            s.pair = optarg;
            break;
        case 'n':
            s.renew = true;
            break;
        default:
            return misuse("unknown option, or its value is missing");
        }
    }
    if (optind != argc)
        return misuse("a word too many");
    wrong = clash(&s, remove);
    if (wrong != NULL)
        return misuse(wrong);
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
    return misuse("say setup or check");
}
