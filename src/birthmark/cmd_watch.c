/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark watch`: who connects and who is refused, as it happens: a table in the terminal, or
 * lines for a pipe.
 *
 * Reads the registry four times a second, beside a running cloud, between two clouds, or before
 * the first; between two looks it holds nothing there. What came since is told by the row numbers
 * of the timeline.
 */
#include "birthmark/cmd.h"
#include "birthmark/place.h"

#include "base/clock.h"
#include "base/loop.h"
#include "device/clock.h"
#include "registry/registry.h"
#include "watch/screen.h"
#include "watch/table.h"

#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POLL_MS = 250, READ_MAX = 100000 };

static const char usage[] =
    "usage: birthmark watch [OPTION...]\n"
    "\n"
    "Shows connects, registrations, refusals and ends of connections as they happen. On a terminal\n"
    "it is a table, alike ones in one row with their count, and below it why the newest refusal\n"
    "was, or that of the row chosen with the arrow keys; into a pipe it is a line each.\n"
    "\n"
    "  --since TIME   what happened since then, too: 90s, 10m, 2h, 1d ago, or\n"
    "                 2026-11-23T09:00:00Z\n"
    "  --refusals     only refusals, and rules and functions that failed (in the table: r)\n"
    "  --count N      end after N of them\n"
    "  --for SECONDS  end after so long\n"
    "  --json         one JSON object a line, as of birthmark explain\n"
    "  --dir DIR      state folder of the cloud, running or not (default: $BIRTHMARK_DIR, "
    "else ~/.local/state/birthmark)\n"
    "  --help, --version\n"
    "\n"
    "Keys: q or Ctrl-C quits, p pauses, r shows refusals only, arrows and page keys choose a row,\n"
    "Esc none. With NO_COLOR set there are no colours.\n";

struct watch {
    const char *dir;
    char path[PATH_MAX]; /* of the store */
    bool json, refusals_only, paused;
    bool has_since;
    int64_t since_ms;
    uint64_t wanted; /* --count; 0: no end */
    uint64_t shown;
    struct loop *loop;
    struct registry *registry; /* NULL: not there, or not readable yet */
    struct place place;        /* for the commands of cures */
    struct stat store;         /* which file it was */
    bool started;              /* `row` is known */
    int64_t row;
    char where[PATH_MAX + 128]; /* what is to be said of the cloud */
    char told[PATH_MAX + 128];  /* lines: what was said last */
    bool ended;
    /* table */
    struct screen *screen;
    struct watch_view view;
    struct watch_table table;
    struct buf out;
};

static void
end(struct watch *w)
{
    w->ended = true;
    loop_stop(w->loop);
}

/* ---- what happened ---- */

static void
on_record(void *arg, int64_t row, const struct timeline_record *rec)
{
    struct watch *w = arg;
    enum watch_kind kind = watch_kind_of(rec->cause);

    if (w->ended)
        return;
    if (row > w->row + 1)
        w->table.missed += (uint64_t)(row - w->row - 1);
    w->row = row;
    if (kind == WATCH_NOTHING)
        return;
    watch_table_add(&w->table, rec);
    if (w->refusals_only && kind != WATCH_REFUSED && kind != WATCH_FAILED)
        return;
    if (w->screen == NULL && w->json) {
        timeline_json(rec, &w->place.of, &w->out);
        buf_add(&w->out, "\n", 1);
    } else if (w->screen == NULL) {
        watch_line(rec, &w->out);
    }
    if (++w->shown == w->wanted)
        end(w);
}

/* Where to begin: now, at --since, or, when the store is new, at its first record. */
static enum bm_err
start(struct watch *w, bool is_new, struct bm_msg *msg)
{
    enum bm_err err = BM_OK;

    w->row = 0;
    if (w->has_since)
        err = registry_timeline_since(w->registry, w->since_ms, &w->row, msg);
    else if (!is_new)
        err = registry_timeline_last(w->registry, &w->row, msg);
    w->started = err == BM_OK;
    return err;
}

static void
forget(struct watch *w)
{
    registry_close(w->registry);
    w->registry = NULL;
}

/* Open the store when it is there; again when the folder was made anew. */
static enum bm_err
attach(struct watch *w, bool first, struct bm_msg *msg)
{
    const struct registry_options ro = { .dir = w->dir, .read_only = true };
    struct stat now;
    bool there = stat(w->path, &now) == 0;
    bool other = w->store.st_ino != 0 && there &&
                 (now.st_ino != w->store.st_ino || now.st_dev != w->store.st_dev);
    enum bm_err err;

    if (w->registry != NULL && (!there || other))
        forget(w);
    if (!there && errno == ENOENT)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "no cloud has run in %s yet", w->dir);
    if (w->registry == NULL) {
        err = registry_open(&ro, &w->registry, msg);
        if (err != BM_OK)
            return err;
        w->store = now;
    }
    return !w->started || other ? start(w, !first, msg) : BM_OK;
}

static void
look(struct watch *w, bool first)
{
    struct bm_msg msg = { { 0 } };
    bool runs = registry_written(w->dir);
    enum bm_err err = attach(w, first, &msg);

    if (err == BM_OK) {
        place_fini(&w->place);
        place_read(w->registry, &w->place);
        w->view.place = &w->place.of;
        err = registry_timeline_after(w->registry, w->row, READ_MAX, on_record, w, &msg);
    }
    if (err == BM_OK)
        err = registry_refresh(w->registry, &msg);
    if (err != BM_OK) {
        forget(w); /* and try again at the next look */
        (void)snprintf(w->where, sizeof w->where, "%s; waiting", msg.text);
    } else {
        (void)snprintf(w->where, sizeof w->where,
            runs ? "a cloud runs on %s" : "no cloud is running on %s; waiting", w->dir);
    }
}

/* ---- lines ---- */

static void
flush_lines(struct watch *w)
{
    if (strcmp(w->where, w->told) != 0) {
        struct buf clean = { 0 };

        timeline_clean(w->where, &clean);
        fprintf(stderr, "birthmark watch: %.*s\n", (int)clean.len, (const char *)clean.ptr);
        buf_fini(&clean);
        (void)snprintf(w->told, sizeof w->told, "%s", w->where);
    }
    if (w->out.len == 0)
        return;
    if (fwrite(w->out.ptr, 1, w->out.len, stdout) != w->out.len || fflush(stdout) != 0)
        end(w);
    w->out.len = 0;
}

/* ---- table ---- */

static void
draw(void *arg)
{
    struct watch *w = arg;

    screen_size(w->screen, &w->view.lines, &w->view.columns);
    w->view.now_ms = clock_wall_ms();
    w->view.where = w->where;
    w->view.paused = w->paused;
    w->view.refusals_only = w->refusals_only;
    watch_table_draw(&w->table, &w->view, &w->out);
    (void)screen_draw(w->screen, &w->out);
}

static void
choose(struct watch_view *v, int by)
{
    int64_t to = (int64_t)v->selected + by;

    v->selected = to < 1 ? 1 : to > WATCH_ROWS_MAX ? WATCH_ROWS_MAX : (unsigned)to;
}

static void
on_key(void *arg, int key)
{
    struct watch *w = arg;
    int page = w->view.lines > 8 ? (int)w->view.lines - 8 : 1;

    if (key == 'q' || key == 'Q') {
        end(w);
        return;
    }
    if (key == 'p' || key == 'P' || key == ' ')
        w->paused = !w->paused;
    else if (key == 'r' || key == 'R')
        w->refusals_only = !w->refusals_only;
    else if (key == KEY_UP || key == KEY_PAGE_UP)
        choose(&w->view, key == KEY_UP ? -1 : -page);
    else if (key == KEY_DOWN || key == KEY_PAGE_DOWN)
        choose(&w->view, key == KEY_DOWN ? 1 : page);
    else if (key == KEY_HOME)
        w->view.selected = 1;
    else if (key == KEY_ESCAPE)
        w->view.selected = 0;
    draw(w);
}

static void
print_totals(void *arg)
{
    const struct watch *w = arg;

    for (int k = 0; k < WATCH_KIND_COUNT; k++)
        printf("%s%s %" PRIu64, k > 0 ? ", " : "", watch_kind_name((enum watch_kind)k),
            w->table.total[k]);
    printf("\n");
    (void)fflush(stdout);
}

/* ---- the loop ---- */

static void
show(struct watch *w)
{
    if (w->screen != NULL)
        draw(w);
    else
        flush_lines(w);
}

static void
on_tick(void *arg)
{
    struct watch *w = arg;

    if (!w->paused)
        look(w, false);
    show(w);
    if (!w->ended && loop_after(w->loop, POLL_MS, on_tick, w) == NULL)
        end(w);
}

static void
on_time_over(void *arg)
{
    end(arg);
}

/* Nobody reads the pipe any more: end now, not at the next line. */
static void
on_reader(void *arg, uint32_t events)
{
    if ((events & (EPOLLERR | EPOLLHUP)) != 0)
        end(arg);
}

static bool
is_utf8(void)
{
    return setlocale(LC_CTYPE, "") != NULL && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static enum bm_err
run(struct watch *w, int64_t for_ms, struct bm_msg *msg)
{
    const struct screen_calls calls = {
        .key = on_key, .redraw = draw, .ending = print_totals, .arg = w
    };
    const char *no_color = getenv("NO_COLOR");
    enum bm_err err = loop_new(&w->loop);

    if (err != BM_OK)
        return bm_fail(msg, err, "cannot start: %s", strerror(errno));
    w->view.utf8 = is_utf8();
    w->view.colour = no_color == NULL || *no_color == '\0';
    if (!w->json)
        err = screen_open(w->loop, &calls, &w->screen, msg);
    if (err == BM_ERR_ARG)
        err = BM_OK; /* no terminal: lines */
    if (err == BM_OK)
        look(w, true);
    if (err == BM_OK && w->screen == NULL)
        (void)loop_add(w->loop, STDOUT_FILENO, 0, on_reader, w); /* a file cannot be waited for */
    if (err == BM_OK && for_ms > 0 && loop_after(w->loop, for_ms, on_time_over, w) == NULL)
        err = bm_fail(msg, BM_ERR_MEM, "out of memory");
    if (err == BM_OK && !w->ended && loop_after(w->loop, 0, on_tick, w) == NULL)
        err = bm_fail(msg, BM_ERR_MEM, "out of memory");
    if (err == BM_OK)
        show(w);
    if (err == BM_OK && !w->ended)
        err = loop_run(w->loop);
    if (w->screen != NULL && screen_close(w->screen))
        print_totals(w);
    return err;
}

/* ---- command line ---- */

/* "90", "90s", "10m", "2h", "1d" ago, or a time. */
static bool
since_parse(const char *text, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = { { "", 1000 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 },
        { "d", 86400000 } };
    char *rest;
    long n;

    if (clock_parse(text, ms))
        return true;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    n = strtol(text, &rest, 10);
    if (errno != 0 || n > 1000000000)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(rest, units[i].unit) == 0) {
            *ms = clock_wall_ms() - n * units[i].ms;
            return true;
        }
    }
    return false;
}

int
cmd_watch(int argc, char **argv)
{
    static const struct option options[] = { { "since", required_argument, NULL, 's' },
        { "refusals", no_argument, NULL, 'r' }, { "count", required_argument, NULL, 'n' },
        { "for", required_argument, NULL, 'f' }, { "json", no_argument, NULL, 'j' },
        CMD_COMMON_OPTIONS };
    static struct watch w;
    struct cmd_common common = { .command = "watch", .usage = usage };
    struct bm_msg msg = { { 0 } };
    long count = 0;
    long seconds = 0;
    int done = CMD_GO_ON;
    enum bm_err err;
    int opt;

    while (done == CMD_GO_ON && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 's' && !(w.has_since = since_parse(optarg, &w.since_ms)))
            return cmd_misuse("watch",
                "--since wants 90s, 10m, 2h, 1d or a time like 2026-11-23T09:00:00Z, not '%s'",
                optarg);
        if (opt == 'n' && !cmd_number(optarg, 1, 1000000000, &count))
            return cmd_misuse("watch", "--count wants 1 to 1000000000, not '%s'", optarg);
        if (opt == 'f' && !cmd_number(optarg, 1, 1000000000, &seconds))
            return cmd_misuse("watch", "--for wants 1 to 1000000000 seconds, not '%s'", optarg);
        if (opt == 'r')
            w.refusals_only = true;
        if (opt == 'j')
            w.json = true;
        done = cmd_common_option(&common, opt);
    }
    if (done == CMD_GO_ON)
        done = cmd_common_end(&common);
    if (done != CMD_GO_ON)
        return done;
    if (optind < argc)
        return cmd_misuse("watch", "unexpected argument '%s'", argv[optind]);
    if (snprintf(w.path, sizeof w.path, "%s/registry.db", common.dir) >= (int)sizeof w.path)
        return cmd_misuse("watch", "--dir is too long");
    w.dir = common.dir;
    w.wanted = (uint64_t)count;
    err = run(&w, seconds * 1000L, &msg);
    forget(&w);
    loop_free(w.loop);
    buf_fini(&w.out);
    place_fini(&w.place);
    if (err == BM_OK)
        return EXIT_DONE;
    fprintf(stderr, "birthmark watch: %s\n", msg.text);
    return EXIT_FAILED;
}
