/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands of a71chConfig share: the tool's state, its exit codes, and reading options.
 *
 * stdout carries what the vendor's tool prints, to the byte (SPEC a71ch 8.4), or JSON; stderr
 * carries our own sentences with cause and cure. Options stand in a fixed order (SPEC a71ch 8.2),
 * so a command reads its words from left to right and getopt is of no use.
 */
#ifndef BM_CONFIG_TOOL_H
#define BM_CONFIG_TOOL_H

#include "a71ch.h"
#include "base/bytes.h"

#include <stdio.h>

/* Exit codes, SPEC a71ch 8.5. Those of parts that are not built are left out. */
enum [[nodiscard]] code{
    CODE_OK = 0, CODE_FAILED = 1, /* with a status word: tool->sw */
    CODE_SELECT = 12, CODE_NOT_IMPLEMENTED = 20, CODE_USAGE = 21, CODE_FILE_OPEN = 23,
    CODE_PEM_READ = 24, CODE_PEM_WRITE = 25, CODE_CURVE = 26, CODE_MEMORY = 27, CODE_HALTED = 28,
    CODE_FILE_FORMAT = 29, CODE_ARG_RANGE = 30, CODE_ARG_OPTION = 32, CODE_ARG_COUNT = 33,
    CODE_ARG_VALUE = 34, CODE_WRAP = 36, CODE_NO_OBJECTS = 37, CODE_NOT_FOUND = 38,
    CODE_CERTIFICATE_WRITE = 39, /* the file */
    CODE_CERTIFICATE_ERASE = 40, /* in the chip */
};

/* Host codes of the vendor's library where the chip gave no status word. SPEC a71ch 7.5. */
enum {
    HOST_LINK_FAILED = 0x7001,
    HOST_SELECT_FAILED = 0x7002,
    HOST_COMMUNICATION = 0x7003,
    HOST_NOT_CONNECTED = 0x7015,
    HOST_MEMORY = 0x7020,
    HOST_WRONG_RESPONSE = 0x7022,
    HOST_PARAMETER = 0x7023,
    HOST_UNDEFINED_CHANNEL = 0x7041,
    HOST_SCP_FAILED = 0x7042,
    HOST_SCP_CRYPTOGRAM = 0x7043,
    HOST_SCP_MAC = 0x7050,
    HOST_SCP_PADDING = 0x7051,
    HOST_EXISTS = 0x7060,
    HOST_TABLE_LOCKED = 0x7061,
    HOST_TOOL = 0x8050,
};

enum { CLASS_PAIR = 0x10, CLASS_PUB = 0x20 };

struct tool {
    a71ch *chip;         /* NULL: not connected */
    const char *address; /* NULL: from the environment */
    bool json;           /* JSON on stdout, all else on stderr, no banner */
    bool dry_run;        /* show what would change the chip instead of sending it */
    bool yes;            /* what can not be undone is meant */
    bool yes_once;       /* the same for one line of interactive mode */
    bool in_script;      /* a script runs now */
    bool interactive;    /* lines come from stdin */
    FILE *data;          /* where JSON goes */
    bool reported;       /* the failure line of the running command is out */
    uint16_t sw;         /* for the failure line of CODE_FAILED */
};

/* The words after the command's name that have not been read yet. */
struct args {
    char *const *words;
    size_t count;
    size_t next;
};

typedef enum code (*command_fn)(struct tool *t, struct args *a);

struct sub {
    const char *name;
    command_fn run;
};

/* main.c */
a71ch_result tool_open(struct tool *t); /* to t->address; t->chip is set whatever comes of it */

/* commands.c */
enum code tool_run(struct tool *t, char *const *words, size_t count); /* also the failure line */
bool tool_is_command(const char *word);
void tool_usage(const struct tool *t);
void tool_command_usage(const char *name); /* that command's forms */
enum code tool_need_chip(struct tool *t); /* CODE_FAILED: not connected */
/* Run the sub-command that the next word names; the usual refusals otherwise. `subs` ends with a
 * NULL name. */
enum code tool_sub(struct tool *t, struct args *a, const char *command, const struct sub *subs);

/* codes.c */
/* CODE_OK for A71CH_OK; otherwise the chip's message is on stderr and its status word in the tool.
 */
enum code tool_done(struct tool *t, a71ch_result result);
enum code tool_chip_failed(struct tool *t, a71ch_result result); /* the same for a failure */
uint16_t tool_host_code(const a71ch *chip, a71ch_result result);
const char *tool_code_text(enum code code);

/* person.c: before a command that can not be undone; `lost` says what will be impossible. */
enum undo { UNDO_NEVER, UNDO_BY_RESET };
enum code tool_for_good(struct tool *t, const char *lost, enum undo undo);

/* dryrun.c: from now on t->chip takes no command that changes it. */
void dry_run_begin(struct tool *t);

/* cmd_obj.c: as tool_done, with the vendor's codes for objects. */
enum code tool_object_done(struct tool *t, a71ch_result result);

/* options.c: each takes `name` and its value off the words, or says what is wrong. SPEC 8.2. */
enum code opt_text(struct args *a, const char *name, const char **out);
enum code opt_number(struct args *a, const char *name, unsigned min, unsigned max, unsigned *out);
enum code opt_index(struct args *a, unsigned *out); /* -x 0..255 */
enum code opt_hex(struct args *a, const char *name, size_t min, size_t max, uint8_t *out,
    size_t *len);                                    /* `out` holds max bytes */
enum code opt_class(struct args *a, unsigned *out);  /* -c and one byte in hex */
enum code opt_offset(struct args *a, unsigned *out); /* -h and two bytes in hex */
bool opt_ahead(const struct args *a, const char *name);

/* print.c: SPEC 8.4. */
void print_bytes_colon(const char *title, struct span bytes);
void print_bytes_compact(const char *title, struct span bytes);
void print_hex(struct span bytes);                             /* upper case, nothing else */
void json_hex(FILE *to, const char *name, struct span bytes);  /* "name":"0a1b" */
void json_text(FILE *to, const char *name, const char *value); /* "name":"value", escaped */

/* One file each. */
enum code cmd_apdu(struct tool *t, struct args *a);
enum code cmd_connect(struct tool *t, struct args *a);
enum code cmd_csr(struct tool *t, struct args *a);
enum code cmd_debug(struct tool *t, struct args *a);
enum code cmd_ecrt(struct tool *t, struct args *a);
enum code cmd_erase(struct tool *t, struct args *a);
enum code cmd_gen(struct tool *t, struct args *a);
enum code cmd_get(struct tool *t, struct args *a);
enum code cmd_help(struct tool *t, struct args *a);
enum code cmd_info(struct tool *t, struct args *a);
enum code cmd_interactive(struct tool *t, struct args *a);
enum code cmd_lock(struct tool *t, struct args *a);
enum code cmd_obj(struct tool *t, struct args *a);
enum code cmd_probe(struct tool *t, struct args *a);
enum code cmd_psk(struct tool *t, struct args *a);
enum code cmd_rcrt(struct tool *t, struct args *a);
enum code cmd_refpem(struct tool *t, struct args *a);
/* Not the vendor's: `words` are the command and what follows. Exit codes of `check` are its own. */
enum code cmd_openssl(const struct tool *t, char **words, size_t count);
void openssl_usage(FILE *to);
enum code cmd_scp(struct tool *t, struct args *a);
enum code cmd_script(struct tool *t, struct args *a);
enum code cmd_set(struct tool *t, struct args *a);
enum code cmd_transport(struct tool *t, struct args *a);
enum code cmd_ucrt(struct tool *t, struct args *a);
enum code cmd_wcrt(struct tool *t, struct args *a);

#endif
