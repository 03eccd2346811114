/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `script -f FILE` and `interactive`: commands from a file or the keyboard, over one connection.
 * SPEC a71ch 8.6.
 *
 * `#` starts a comment; `quit` ends; an empty line is an error, as in the vendor's tool. A script
 * echoes each line, and the first command that fails ends it with its code.
 */
#include "config/tool.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20, LINE_MAX_LEN = 1024, WORDS_MAX = LINE_MAX_LEN / 2 };

/* Cut the line into words in place. */
static size_t
split(char *line, char *words[WORDS_MAX])
{
    size_t count = 0;
    char *state = NULL;

    for (char *w = strtok_r(line, " \r\n", &state); w != NULL && count < WORDS_MAX;
         w = strtok_r(NULL, " \r\n", &state))
        words[count++] = w;
    return count;
}

static enum code
run_line(struct tool *t, char *line, bool *quit)
{
    char *words[WORDS_MAX];
    char *comment = strchr(line, '#');
    size_t count;

    if (t->in_script)
        printf(">> %s\n", line); /* the line's own newline makes a blank line follow */
    if (strncmp(line, "quit", 4) == 0) {
        *quit = true;
        return CODE_OK;
    }
    if (comment != NULL && strspn(line, " \r\n\t") == (size_t)(comment - line))
        return CODE_OK;
    if (comment != NULL)
        *comment = '\0';
    count = split(line, words);
    return tool_run(t, words, count);
}

/* The next line of the text with its newline; false at the end. */
static bool
next_line(struct rd *text, struct span *line)
{
    struct rd r = *text;
    uint8_t c = 0;

    if (rd_left(text) == 0)
        return false;
    while (c != '\n' && rd_left(&r) > 0)
        c = rd_u8(&r);
    *line = rd_span(text, rd_left(text) - rd_left(&r));
    return true;
}

static enum code
run_text(struct tool *t, struct span text)
{
    struct rd r = rd_of(text);
    struct span line;
    bool quit = false;
    enum code code = CODE_OK;

    while (code == CODE_OK && !quit && next_line(&r, &line)) {
        char copy[LINE_MAX_LEN + 1];

        if (line.len > LINE_MAX_LEN || memchr(line.ptr, '\0', line.len) != NULL) {
            fprintf(stderr,
                "the script has a line of more than %d characters, or with a zero byte\n",
                LINE_MAX_LEN);
            return CODE_FILE_FORMAT;
        }
        memcpy(copy, line.ptr, line.len);
        copy[line.len] = '\0';
        code = run_line(t, copy, &quit);
        bm_wipe(copy, sizeof copy); /* `set pair -h` has a private key in it */
    }
    return code;
}

enum code
cmd_script(struct tool *t, struct args *a)
{
    struct buf text = { 0 };
    struct bm_msg msg;
    const char *path;
    enum code code = opt_text(a, "-f", &path);

    if (code != CODE_OK)
        return code;
    if (t->in_script) {
        fprintf(stderr, "a script cannot start another one; put its lines here\n");
        return CODE_HALTED;
    }
    if (file_read(path, FILE_MAX, &text, &msg) != BM_OK) {
        printf("unable to open %s\n", path);
        fprintf(stderr, "%s\n", msg.text);
        buf_fini(&text);
        return CODE_FILE_OPEN;
    }
    t->in_script = true;
    code = run_text(t, buf_span(&text));
    t->in_script = false;
    if (text.ptr != NULL)
        bm_wipe(text.ptr, text.len);
    buf_fini(&text);
    return code;
}

/* A line of any length, its newline included; false at the end. The caller wipes and frees. */
static bool
read_line(char **line, size_t *cap)
{
    printf(">>> ");
    (void)fflush(stdout);
    return getline(line, cap, stdin) > 0;
}

/* Goes on after a failure; ends with the code of the last line, or 0 after `quit`. */
enum code
cmd_interactive(struct tool *t, struct args *a)
{
    char *line = NULL;
    size_t cap = 0;
    bool quit = false;
    enum code code = CODE_OK;

    (void)a;
    if (t->in_script || t->interactive) {
        fprintf(stderr, "interactive mode is for the keyboard, not for scripts or itself\n");
        return CODE_HALTED;
    }
    t->interactive = true;
    while (!quit && read_line(&line, &cap)) {
        if (strlen(line) <= LINE_MAX_LEN) {
            code = run_line(t, line, &quit);
        } else {
            fprintf(stderr, "a line has up to %d characters\n", LINE_MAX_LEN);
            code = CODE_FILE_FORMAT;
        }
        bm_wipe(line, cap);
    }
    t->interactive = false;
    free(line);
    return code;
}
