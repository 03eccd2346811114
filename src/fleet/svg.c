/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fleet.h: the plots. One SVG file of three panels below each other, made by hand: axes with
 * round numbers, a line, bars; no scripts, no fonts but the viewer's.
 */
#include "fleet/fleet.h"

#include <math.h>
#include <stdio.h>

enum {
    WIDTH = 900,
    LEFT = 70,
    RIGHT = 20,
    PANEL = 250, /* height of one, its title and axis included */
    TOP = 40,
    BOTTOM = 35,
    TICKS = 5,
};

/* Where values go in a panel. */
struct axes {
    double left;
    double width;
    double bottom;
    double height;
    double x_max;
    double y_max;
};

static double
x_of(const struct axes *a, double v)
{
    return a->left + a->width * (a->x_max > 0 ? v / a->x_max : 0);
}

static double
y_of(const struct axes *a, double v)
{
    return a->bottom - a->height * (a->y_max > 0 ? v / a->y_max : 0);
}

/* 1, 2 or 5 times a power of ten, so that about TICKS of it make `most`. */
static double
round_step(double most)
{
    double raw = most > 0 ? most / TICKS : 1;
    double ten = pow(10, floor(log10(raw)));
    double m = raw / ten;

    return ten * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

static void
text(struct buf *out, double x, double y, const char *anchor, const char *words)
{
    buf_addf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    for (const char *p = words; *p != '\0'; p++) {
        if (*p == '<' || *p == '&')
            buf_addf(out, *p == '<' ? "&lt;" : "&amp;");
        else
            buf_add(out, p, 1);
    }
    buf_addf(out, "</text>\n");
}

static struct axes
panel(struct buf *out, int index, const char *title, double x_max, double y_max)
{
    struct axes a = { LEFT, WIDTH - LEFT - RIGHT, PANEL * (index + 1.0) - BOTTOM,
        PANEL - TOP - BOTTOM, x_max, y_max };
    double step = round_step(y_max);

    buf_addf(out, "<g font-weight=\"bold\">");
    text(out, LEFT, PANEL * index + 22.0, "start", title);
    buf_addf(out, "</g>");
    a.y_max = y_max > 0 ? ceil(y_max / step) * step : 1;
    for (double v = 0; v <= a.y_max * 1.0001; v += step) {
        char number[32];

        (void)snprintf(number, sizeof number, "%g", v);
        buf_addf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n",
            a.left, y_of(&a, v), a.left + a.width, y_of(&a, v));
        text(out, a.left - 8, y_of(&a, v) + 4, "end", number);
    }
    return a;
}

static void
x_ticks(struct buf *out, const struct axes *a, const char *unit)
{
    double step = round_step(a->x_max);

    for (double v = 0; v <= a->x_max * 1.0001; v += step) {
        char number[48];

        (void)snprintf(number, sizeof number, "%g%s", v, unit);
        text(out, x_of(a, v), a->bottom + 18, "middle", number);
    }
}

static void
bar(struct buf *out, const struct axes *a, double from, double to, double v, const char *colour)
{
    if (v > 0)
        buf_addf(out, "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" fill=\"%s\"/>\n",
            x_of(a, from), y_of(a, v), fmax(x_of(a, to) - x_of(a, from), 0.5),
            a->bottom - y_of(a, v), colour);
}

static void
legend(struct buf *out, int index, const char *const *names, const char *const *colours, size_t n)
{
    double x = WIDTH - RIGHT;

    for (size_t i = n; i-- > 0;) {
        text(out, x, PANEL * index + 22.0, "end", names[i]);
        x -= 16 + 5.8 * (double)snprintf(NULL, 0, "%s", names[i]);
        buf_addf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"10\" height=\"10\" fill=\"%s\"/>\n", x,
            PANEL * index + 13.0, colours[i]);
        x -= 12;
    }
}

/* ---- connections over time ---- */

static void
plot_timeline(struct buf *out, const struct fleet_report *r)
{
    static const char *const names[] = { "connected", "connects per step", "failed or lost" };
    static const char *const colours[] = { "#1f5fa8", "#8fc49a", "#d9826b" };
    const struct timeline *t = &r->figures.timeline;
    double step_s = (double)t->step_ms / 1000;
    double most = (double)r->devices;
    struct axes a;

    for (size_t i = 0; i < t->count; i++)
        most = fmax(most, fmax(t->steps[i].connects, t->steps[i].failures));
    a = panel(out, 0, "connections over time", fmax(r->run_s, step_s), most);
    x_ticks(out, &a, " s");
    legend(out, 0, names, colours, 3);
    for (size_t i = 0; i < t->count; i++) {
        double from = (double)i * step_s;
        double to = fmin(from + step_s, a.x_max);
        double half = from + (to - from) / 2;

        bar(out, &a, from, half, t->steps[i].connects, colours[1]);
        bar(out, &a, half, to, t->steps[i].failures, colours[2]);
    }
    buf_addf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", colours[0]);
    for (size_t i = 0; i < t->count; i++)
        buf_addf(out, "%.1f,%.1f ", x_of(&a, fmin((double)(i + 1) * step_s, a.x_max)),
            y_of(&a, t->steps[i].connected));
    buf_addf(out, "\"/>\n");
}

/* ---- latencies ---- */

enum { HALF_OCTAVES = SPREAD_PER_OCTAVE / 2, COLUMNS = SPREAD_BUCKETS / HALF_OCTAVES };

static const enum latency plotted[] = { LATENCY_TLS, LATENCY_CONNACK, LATENCY_PUBACK };
enum { PLOTTED = sizeof plotted / sizeof *plotted };

static double
column(const struct spread *s, size_t i)
{
    double sum = 0;

    for (size_t k = i * HALF_OCTAVES; k < (i + 1) * HALF_OCTAVES; k++)
        sum += s->buckets[k];
    return s->count > 0 ? 100 * sum / (double)s->count : 0;
}

static void
plot_latencies(struct buf *out, const struct fleet_report *r)
{
    static const char *const colours[] = { "#1f5fa8", "#e0a43a", "#8fc49a" };
    static const char *const names[] = { "tls", "connack", "puback" };
    const struct spread *spreads = r->figures.spreads;
    size_t first = COLUMNS;
    size_t last = 0;
    double most = 1;
    struct axes a;

    for (size_t i = 0; i < COLUMNS; i++) {
        for (size_t p = 0; p < PLOTTED; p++) {
            double v = column(&spreads[plotted[p]], i);

            first = v > 0 && i < first ? i : first;
            last = v > 0 ? i : last;
            most = fmax(most, v);
        }
    }
    first = first < COLUMNS ? first : 0;
    a = panel(out, 1, "latency: share of each, in %", (double)(last - first + 1), most);
    legend(out, 1, names, colours, PLOTTED);
    for (size_t i = first; i <= last; i++) {
        double x = (double)(i - first);

        for (size_t p = 0; p < PLOTTED; p++)
            bar(out, &a, x + 0.1 + 0.8 * (double)p / PLOTTED,
                x + 0.1 + 0.8 * (double)(p + 1) / PLOTTED, column(&spreads[plotted[p]], i),
                colours[p]);
        if ((i - first) % (1 + (last - first) / 12) == 0) {
            double at_ms = (double)spread_from(i * HALF_OCTAVES) / 1000;
            char number[48];

            if (at_ms < 999)
                (void)snprintf(number, sizeof number, "%.3g ms", at_ms);
            else
                (void)snprintf(number, sizeof number, "%.3g s", at_ms / 1000);
            text(out, x_of(&a, x), a.bottom + 18, "middle", number);
        }
    }
}

/* ---- causes ---- */

static void
plot_causes(struct buf *out, const struct fleet_report *r)
{
    const struct outcome_count *c = r->figures.outcomes;
    unsigned kinds = 0;
    unsigned most = 0;
    unsigned at = 0;
    double height;
    char number[64];

    for (int o = 0; o < OUTCOME_COUNT; o++) {
        kinds += c[o].attempts > 0;
        most = c[o].attempts > most ? c[o].attempts : most;
    }
    buf_addf(out, "<g font-weight=\"bold\">");
    text(out, LEFT, PANEL * 2 + 22.0, "start",
        kinds > 0 ? "attempts that failed and connections that were lost, by cause"
                  : "no attempt failed and no connection was lost");
    buf_addf(out, "</g>");
    height = kinds > 0 ? fmin(24, (double)(PANEL - TOP - 10) / kinds) : 0;
    for (int o = 0; o < OUTCOME_COUNT; o++) {
        double y = PANEL * 2 + TOP + at * height;
        double w = c[o].attempts > 0 ? (WIDTH - 360.0) * c[o].attempts / most : 0;

        if (c[o].attempts == 0)
            continue;
        at++;
        text(out, 220, y + height * 0.7, "end", outcome_id((enum outcome)o));
        buf_addf(out,
            "<rect x=\"230\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#d9826b\"/>\n", y,
            fmax(w, 1), height * 0.8);
        (void)snprintf(number, sizeof number, "%u, %u devices", c[o].attempts, c[o].devices);
        text(out, 236 + fmax(w, 1), y + height * 0.7, "start", number);
    }
}

void
fleet_report_svg(const struct fleet_report *r, struct buf *out)
{
    buf_addf(out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
        "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
        WIDTH, 3 * PANEL, WIDTH, 3 * PANEL);
    plot_timeline(out, r);
    plot_latencies(out, r);
    plot_causes(out, r);
    buf_addf(out, "</svg>\n");
}
