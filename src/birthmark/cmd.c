/* SPDX-License-Identifier: Apache-2.0 */
/* See cmd.h. */
#include "birthmark/cmd.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
cmd_exit_code(enum bm_err err)
{
    switch (err) {
    case BM_OK:
        return EXIT_DONE;
    case BM_ERR_ARG:
        return EXIT_USAGE;
    case BM_ERR_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case BM_ERR_EXISTS:
    case BM_ERR_CONFLICT:
        return EXIT_BUSY;
    case BM_ERR_DENIED:
        return EXIT_REFUSED;
    case BM_ERR_IO:
    case BM_ERR_TIMEOUT:
    case BM_ERR_CLOSED:
    case BM_ERR_LIMIT:
        return EXIT_UNREACHABLE;
    default:
        return EXIT_FAILED;
    }
}

bool
cmd_default_dir(char *out, size_t cap)
{
    static const struct {
        const char *variable;
        const char *below;
    } places[] = { { "BIRTHMARK_DIR", "" }, { "XDG_STATE_HOME", "/birthmark" },
        { "HOME", "/.local/state/birthmark" } };

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *base = getenv(places[i].variable);

        if (base != NULL && *base != '\0')
            return snprintf(out, cap, "%s%s", base, places[i].below) < (int)cap;
    }
    return false;
}

bool
cmd_share(const char *what, char *out, size_t cap)
{
    const char *from_env = getenv("BIRTHMARK_SHARE");
    char exe[PATH_MAX];
    ssize_t n;

    if (from_env != NULL)
        return snprintf(out, cap, "%s/%s", from_env, what) < (int)cap;
    n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n < 0)
        return false;
    exe[n] = '\0';
    *strrchr(exe, '/') = '\0'; /* the folder's name, */
    if (strrchr(exe, '/') != NULL)
        *strrchr(exe, '/') = '\0'; /* and the one above */
    return snprintf(out, cap, "%s/share/birthmark/%s", exe, what) < (int)cap;
}

int
cmd_common_option(struct cmd_common *c, int opt)
{
    switch (opt) {
    case 'd':
        if (snprintf(c->dir, sizeof c->dir, "%s", optarg) >= (int)sizeof c->dir)
            return cmd_misuse(c->command, "--dir is too long");
        break;
    case 'h':
        fputs(c->usage, stdout);
        return EXIT_DONE;
    case 'V':
        return cmd_version(1, NULL);
    case '?':
        return EXIT_USAGE;
    }
    return CMD_GO_ON;
}

int
cmd_common_end(struct cmd_common *c)
{
    if (c->dir[0] == '\0' && !cmd_default_dir(c->dir, sizeof c->dir))
        return cmd_misuse(c->command, "no state folder: give --dir, or set BIRTHMARK_DIR or HOME");
    return CMD_GO_ON;
}

bool
cmd_number(const char *text, long least, long most, long *out)
{
    char *end;
    long v;

    errno = 0;
    v = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || v < least || v > most)
        return false;
    *out = v;
    return true;
}

int
cmd_misuse(const char *command, const char *fmt, ...)
{
    char what[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    fprintf(stderr, "birthmark %s: %s; see `birthmark %s --help`\n", command, what, command);
    return EXIT_USAGE;
}

int
cmd_version(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return cmd_misuse("version", "takes no arguments");
    printf("birthmark %s\n", BIRTHMARK_VERSION);
    return EXIT_DONE;
}
