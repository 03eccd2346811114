/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark logs`: what a function printed, with the START, END and REPORT lines of its
 * invocations.
 *
 * Reads DIR/functions/log/NAME.log and the file before it, beside a running cloud or after it
 * ended.
 */
#include "birthmark/cmd.h"

#include "lambda/lambda.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { FOLLOW_MS = 200 };

static const char usage[] =
    "usage: birthmark logs [OPTION...] FUNCTION\n"
    "\n"
    "Prints what a function wrote, with the START, END and REPORT lines of its invocations.\n"
    "\n"
    "  -f, --follow   go on as it writes; end with Ctrl-C\n"
    "  -n, --lines N  the last N lines (default 100; 0: all that is kept)\n"
    "  --dir DIR      state folder of the cloud (default: $BIRTHMARK_DIR, else "
    "~/.local/state/birthmark)\n"
    "  --help, --version\n";

/* Appends a file from `at` on; false when it is not there. */
static bool
read_from(const char *path, long at, struct buf *out)
{
    FILE *f = fopen(path, "r");
    char chunk[16384];
    size_t n;

    if (f == NULL)
        return false;
    if (fseek(f, at, SEEK_SET) == 0) {
        while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
            buf_add(out, chunk, n);
    }
    (void)fclose(f);
    return true;
}

static void
print(struct buf *text)
{
    if (text->len > 0)
        (void)fwrite(text->ptr, 1, text->len, stdout);
    (void)fflush(stdout);
    text->len = 0;
}

static void
keep_last_lines(struct buf *text, unsigned long lines)
{
    size_t at = text->len;

    if (lines == 0)
        return;
    while (at > 0) {
        if (text->ptr[at - 1] == '\n' && at < text->len && --lines == 0)
            break;
        at--;
    }
    buf_drop(text, at);
}

/* What is appended, also when the file was put aside and begun anew. */
static int
follow(const char *path)
{
    struct buf text = { 0 };
    struct stat st;
    ino_t inode = 0;
    off_t at = 0;

    if (stat(path, &st) == 0) {
        inode = st.st_ino;
        at = st.st_size;
    }
    while (!ferror(stdout)) {
        (void)nanosleep(&(struct timespec){ 0, FOLLOW_MS * 1000000L }, NULL);
        if (stat(path, &st) != 0)
            continue;
        if (st.st_ino != inode) {
            inode = st.st_ino;
            at = 0;
        }
        if (st.st_size > at && read_from(path, at, &text)) {
            at += (off_t)text.len;
            print(&text);
        }
    }
    buf_fini(&text);
    return EXIT_FAILED;
}

static int
run(const char *dir, const char *function, unsigned long lines, bool follows)
{
    char path[PATH_MAX];
    char before[PATH_MAX + 2];
    char name[REGISTRY_NAME_MAX + 1];
    struct buf text = { 0 };
    bool found;

    if (!lambda_name_of(function, name))
        return cmd_misuse("logs", "'%.80s' is no function's name or ARN", function);
    if (snprintf(path, sizeof path, "%s/functions/log/%s.log", dir, name) >= (int)sizeof path)
        return cmd_misuse("logs", "--dir is too long");
    (void)snprintf(before, sizeof before, "%s.1", path);
    found = read_from(before, 0, &text);
    found = read_from(path, 0, &text) || found;
    keep_last_lines(&text, lines);
    print(&text);
    buf_fini(&text);
    if (follows)
        return follow(path);
    if (!found) {
        fprintf(stderr,
            "birthmark logs: function %s has written nothing here; it never ran, or another state "
            "folder was in use (--dir)\n",
            name);
        return EXIT_NOT_FOUND;
    }
    return EXIT_DONE;
}

int
cmd_logs(int argc, char **argv)
{
    static const struct option options[] = { { "follow", no_argument, NULL, 'f' },
        { "lines", required_argument, NULL, 'n' }, CMD_COMMON_OPTIONS };
    struct cmd_common common = { .command = "logs", .usage = usage };
    unsigned long lines = 100;
    bool follows = false;
    char *rest;
    int end = CMD_GO_ON;
    int opt;

    while (end == CMD_GO_ON && (opt = getopt_long(argc, argv, "fn:", options, NULL)) != -1) {
        if (opt == 'f')
            follows = true;
        if (opt == 'n') {
            lines = strtoul(optarg, &rest, 10);
            if (*optarg == '\0' || *rest != '\0' || lines > 1000000)
                return cmd_misuse("logs", "--lines wants 0 to 1000000, not '%s'", optarg);
        }
        end = cmd_common_option(&common, opt);
    }
    if (end == CMD_GO_ON)
        end = cmd_common_end(&common);
    if (end != CMD_GO_ON)
        return end;
    if (argc - optind != 1)
        return cmd_misuse("logs", "name one function");
    return run(common.dir, argv[optind], lines, follows);
}
