/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sub-commands of `birthmark` share: exit codes, the state folder, common options.
 */
#ifndef BM_BIRTHMARK_CMD_H
#define BM_BIRTHMARK_CMD_H

#include "base/bytes.h"
#include "base/err.h"

#include <getopt.h>
#include <limits.h>

/* Exit codes, listed in birthmark(1). */
enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,    /* something went wrong while running; stderr says what */
    EXIT_USAGE = 2,     /* the command line is wrong */
    EXIT_NOT_FOUND = 3, /* the thing asked for does not exist */
    EXIT_DENIED = 3,    /* policy test: the answer is no */
    EXIT_BUSY = 4,      /* the state folder or the address is in use; what is there is in the way */
    EXIT_REFUSED = 5,   /* ca, factory: not allowed, by a cloud, a CA, a passphrase */
    EXIT_UNREACHABLE = 6, /* ca, factory: the cloud, a chip or a file cannot be reached */
    EXIT_UNFINISHED = 7,  /* factory: not all chips are done; run the job again */
};
/* The exit code for a result of ca or factory. */
int cmd_exit_code(enum bm_err err);

/* Each gets its own argv, argv[0] being the sub-command's name. */
int cmd_ca(int argc, char **argv);
int cmd_cloud(int argc, char **argv);
int cmd_device(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_factory(int argc, char **argv);
int cmd_fleet(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_letters(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_policy(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_watch(int argc, char **argv);

/*
 * The state folder when --dir is absent: BIRTHMARK_DIR, else XDG_STATE_HOME/birthmark, else
 * ~/.local/state/birthmark. False when none of them is set.
 */
bool cmd_default_dir(char *out, size_t cap);
/*
 * What is installed with the program: BIRTHMARK_SHARE/what, else ../share/birthmark/what beside the
 * folder that the program is in. False when it does not fit.
 */
bool cmd_share(const char *what, char *out, size_t cap);

/* What the sub-commands that read a state folder have in common. */
struct cmd_common {
    const char *command;
    const char *usage;
    char dir[PATH_MAX]; /* "": not given */
};
#define CMD_COMMON_OPTIONS                                                                         \
    { "dir", required_argument, NULL, 'd' }, { "help", no_argument, NULL, 'h' },                   \
        { "version", no_argument, NULL, 'V' },                                                     \
    {                                                                                              \
        NULL, 0, NULL, 0                                                                           \
    }
enum { CMD_GO_ON = -1 };
/* Take one of these options from getopt_long: CMD_GO_ON, or the exit code to end with. */
int cmd_common_option(struct cmd_common *c, int opt);
/* After the last option: the state folder is known then. CMD_GO_ON or an exit code. */
int cmd_common_end(struct cmd_common *c);

/* A number of `least` to `most`, and nothing behind it. */
bool cmd_number(const char *text, long least, long most, long *out);
/* One line on stderr for misuse: what is wrong and where to read on. Returns EXIT_USAGE. */
int cmd_misuse(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
