/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A person at the keyboard is told what a command makes impossible, and must have written --yes. A
 * script or program, which says what it means, is served as the vendor's tool serves it.
 */
#include "config/tool.h"

#include <stdio.h>
#include <unistd.h>

enum { DEBUG_ON = 1 }; /* SPEC a71ch 1.1 */

/*
 * A shell with job control, which is what a person types into, gives each command a process group
 * of its own; a script's commands, make's and sudo's stay in that of their parent.
 */
static bool
person_there(const struct tool *t)
{
    return !t->in_script && isatty(STDIN_FILENO) == 1 && getpgrp() == getpid() &&
           tcgetpgrp(STDIN_FILENO) == getpgrp();
}

enum code
tool_for_good(struct tool *t, const char *lost, enum undo undo)
{
    fprintf(stderr, "This is for good: %s.\n", lost);
    if (undo == UNDO_BY_RESET && (a71ch_applet_version(t->chip) & DEBUG_ON) != 0)
        fprintf(stderr, "(Except that this chip's debug mode is on: 'debug reset' undoes it, and "
                        "wipes all else.)\n");
    if (t->yes || t->yes_once || t->dry_run || !person_there(t))
        return CODE_OK;
    fprintf(stderr, "Nothing was sent. If you mean it, write --yes before the command%s.\n",
        t->interactive ? "" : "; --dry-run shows what would be sent");
    return CODE_HALTED;
}
