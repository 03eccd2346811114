// SPDX-License-Identifier: Apache-2.0
// Small plots of the last ten minutes: an area over time, its present and its highest value in words.
import { el, svg } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 64;

export const number = (n) => (n >= 100 || Number.isInteger(n) ? Math.round(n).toLocaleString("en") : n.toFixed(1));

// Of counters that grow: how much for each second between two samples [time, ...counts].
export function rates(samples, column) {
  const out = [];
  for (let i = 1; i < samples.length; i++) {
    const seconds = (samples[i][0] - samples[i - 1][0]) / 1000;
    out.push([samples[i][0], seconds > 0 ? Math.max(0, samples[i][column] - samples[i - 1][column]) / seconds : 0]);
  }
  return out;
}

function line(points, top, first, span) {
  return points.map(([t, v]) => `${(((t - first) / span) * WIDTH).toFixed(1)},${(HEIGHT - 2 - (v / top) * (HEIGHT - 6)).toFixed(1)}`).join(" ");
}

// series: [{name, kind, points: [[ms, value]...]}...]
export function plot(title, unit, series) {
  const all = series.flatMap((s) => s.points);
  const now = all.length ? Math.max(...all.map((p) => p[0])) : Date.now();
  const span = 600000;
  const first = now - span;
  const top = Math.max(1, ...all.map((p) => p[1]));
  const latest = series.map((s) => (s.points.length ? s.points[s.points.length - 1][1] : 0));
  const graph = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true", class: "plot" },
    svg("line", { x1: 0, y1: HEIGHT - 2, x2: WIDTH, y2: HEIGHT - 2, class: "axis" }),
    series.map((s) => {
      if (!s.points.length) return null;
      const text = line(s.points, top, first, span);
      const x0 = text.split(",")[0];
      return svg("g", { class: "series " + s.kind },
        svg("polygon", { points: `${x0},${HEIGHT - 2} ${text} ${WIDTH},${HEIGHT - 2}` }), svg("polyline", { points: text }));
    }));
  return el("figure", { class: "card plotcard" },
    el("figcaption", null, title),
    el("p", { class: "values" }, series.map((s, i) => el("span", { class: "value " + s.kind }, el("b", null, number(latest[i])), " ", s.name || unit))),
    graph,
    el("p", { class: "muted small" }, `highest in ten minutes: ${number(top === 1 && !all.some((p) => p[1] >= 1) ? Math.max(0, ...all.map((p) => p[1])) : top)} ${unit}`));
}
