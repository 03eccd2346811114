/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal under a full-screen program: its alternate screen, single keys, its size, and the
 * way back.
 *
 * Writing never waits: a frame that the terminal does not take is finished before another begins,
 * and what came between is left out. The terminal is put back as it was by screen_close, before
 * the program stops (Ctrl-Z) and before it dies of SIGINT, SIGTERM, SIGHUP or SIGQUIT; in all these
 * cases the status that the parent sees is the signal's own.
 */
#ifndef BM_WATCH_SCREEN_H
#define BM_WATCH_SCREEN_H

#include "base/bytes.h"
#include "base/loop.h"

enum screen_key { KEY_UP = 0x100, KEY_DOWN, KEY_PAGE_UP, KEY_PAGE_DOWN, KEY_HOME, KEY_ESCAPE };

struct screen;
struct screen_calls {
    void (*key)(void *arg, int key);  /* a byte, or one of enum screen_key */
    void (*redraw)(void *arg);        /* new size, or back from a stop */
    void (*ending)(void *arg);        /* the terminal is as before; the program dies after it */
    void *arg;
};

/*
 * Take the terminal that standard output is. BM_ERR_ARG: it is none, or one that knows no escape
 * sequences (TERM is dumb or unset); BM_ERR_IO.
 */
enum bm_err screen_open(
    struct loop *l, const struct screen_calls *calls, struct screen **out, struct bm_msg *msg);
/* Takes NULL. False: the terminal takes nothing more, and would hold whoever writes to it. */
bool screen_close(struct screen *s);
void screen_size(const struct screen *s, unsigned *lines, unsigned *columns);
/* False: the last frame is still on its way, this one is dropped. Empties `frame`. */
bool screen_draw(struct screen *s, struct buf *frame);

/*
 * The first key in what one read brought: a byte, one of enum screen_key, -1 for a sequence that is
 * none of ours, 0 for no bytes. *used: bytes it took.
 */
int screen_key_parse(struct span in, size_t *used);

#endif
