// SPDX-License-Identifier: Apache-2.0
// A certificate's timeline as a sequence diagram: device, endpoint, registry, rule, function, and who called the API.
// Each record becomes one to three arrows. Text is set as text and broken into lines that fit.
import { svg } from "./dom.js";
import { readFacts } from "./record.js";

const ACTORS = ["device", "endpoint", "registry", "rule", "function", "API"];
const LINE = 14;
const GAP = 12;
const TOP = 40;
const CHAR = 6.1; // of 11 px text, on the safe side

// [from, to, text, kind]: kind is good, bad, effect, change or end; from === to is a note at that actor.
function stepsOf(r, caller) {
  const f = readFacts(r.facts);
  const connect = ["device", "endpoint", `CONNECT${r.clientId ? " as " + r.clientId : ""}`, "change"];
  const operation = f.operation || "";
  switch (r.cause) {
    case "certificate.registered":
      return [connect, ["endpoint", "registry", "unknown certificate, its CA is registered: PENDING_ACTIVATION", "change"],
        ["endpoint", "device", "connection dropped", "end"]];
    case "certificate.created": return [[caller, "registry", operation || "registered", "change"]];
    case "certificate.status": return [[caller, "registry", `${operation || "UpdateCertificate"}: ${f.from || ""} → ${f.to || r.status}`, r.status === "ACTIVE" ? "good" : "change"]];
    case "certificate.deleted": return [[caller, "registry", operation || "deleted", "bad"]];
    case "policy.attached": case "policy.detached": return [[caller, "registry", `${operation} ${f.policy || ""}`.trim(), "change"]];
    case "event.published": return [["registry", "rule", "event published", "effect"]];
    case "rule.matched": return [["rule", "rule", `${f.rule || "a rule"} matched`, "effect"]];
    case "rule.failed": return [["rule", "rule", `${f.rule || "a rule"} failed: ${r.facts.replace(/^rule=\S+ /, "")}`, "bad"]];
    case "function.invoked": return [["rule", "function", `invoke ${f.function || ""}`.trim(), "effect"]];
    case "function.succeeded": return [["function", "rule", "ended well", "good"]];
    case "function.failed": return [["function", "rule", "failed: " + (r.facts || ""), "bad"]];
    case "connect.admitted": return [connect, ["endpoint", "device", "CONNACK: admitted", "good"]];
    case "receive.denied": return [["endpoint", "endpoint", r.sentence, "bad"]];
    case "tls.failed": return [["device", "endpoint", "TLS handshake", "change"], ["endpoint", "device", r.sentence, "bad"]];
  }
  if (r.cause.startsWith("disconnect.")) return [["device", "endpoint", r.sentence, "end"]];
  if (r.cause.startsWith("connect.") || r.cause.startsWith("cloud.")) return [connect, ["endpoint", "device", r.sentence, "bad"]];
  if (r.cause.startsWith("publish.") || r.cause.startsWith("subscribe.")) {
    const what = r.cause.startsWith("publish") ? "PUBLISH" : "SUBSCRIBE";
    return [["device", "endpoint", `${what} ${f.topic || f.filter || ""}`.trim(), "change"], ["endpoint", "device", r.sentence, "bad"]];
  }
  return [["endpoint", "endpoint", r.sentence, r.class === "refused" ? "bad" : "change"]];
}

// Calls of the API between a function's start and its end are taken for the function's.
export function arrowsOf(records) {
  const out = [];
  let running = false;
  for (const r of records) {
    if (r.cause === "function.invoked") running = true;
    const steps = stepsOf(r, running ? "function" : "API");
    if (r.cause.startsWith("function.") && r.cause !== "function.invoked") running = false;
    const key = r.cause + "|" + (r.clientId || "") + "|" + (r.facts || "");
    const before = out[out.length - 1];
    if (before && before.key === key) {
      before.times++;
      before.record = r;
    } else {
      out.push({ key, steps, record: r, times: 1 });
    }
  }
  return out;
}

function lines(text, width) {
  const max = Math.max(10, Math.floor(width / CHAR));
  const out = [""];
  for (let word of text.split(" ")) {
    while (word.length > max) { // an unbroken name
      out.push(word.slice(0, max));
      word = word.slice(max);
    }
    const last = out[out.length - 1];
    if ((last + " " + word).trim().length > max) out.push(word);
    else out[out.length - 1] = (last + " " + word).trim();
  }
  return out.filter((l, i) => l || i === 0).slice(0, 4);
}

function arrow(step, y, x, width, fresh) {
  const [from, to, text, kind] = step;
  const x1 = x(from);
  const x2 = x(to);
  const left = Math.min(x1, x2);
  const wide = Math.abs(x2 - x1);
  // The label starts at the arrow's left end and may run on to the right edge, or lies left of a note at the right.
  const room = Math.max(wide, from === to ? width - left - 14 : Math.min(width - left, wide + 110)) - 12;
  const flip = from === to && left > width - 120;
  const text2 = lines(text, flip ? left - 20 : room);
  const base = y + text2.length * LINE;
  const words = text2.map((l, i) => svg("text", { x: flip ? left - 10 : left + (from === to ? 12 : 8), y: y + (i + 1) * LINE - 3, "text-anchor": flip ? "end" : "start" }, l));
  const head = x2 > x1 ? -7 : 7;
  const shape = from === to
    ? svg("circle", { cx: left, cy: y + LINE - 7, r: 4 })
    : [svg("line", { x1, y1: base + 4, x2: x2 + head / 2, y2: base + 4 }),
      svg("polygon", { points: `${x2},${base + 4} ${x2 + head},${base} ${x2 + head},${base + 8}` })];
  return { node: svg("g", { class: `step ${kind}${fresh ? " fresh" : ""}` }, svg("title", null, text), shape, words), height: text2.length * LINE + (from === to ? 4 : 12) };
}

// `seen`: how many groups were drawn before, so that the new ones can be shown as new.
export function sequence(records, width, seen) {
  const groups = arrowsOf(records);
  const used = ACTORS.filter((a) => a !== "API" || groups.some((g) => g.steps.some((s) => s[0] === "API")));
  const time = width < 560 ? 0 : 64;
  const side = width < 560 ? 30 : 44;
  const x = (actor) => time + side + (used.indexOf(actor) * (width - time - 2 * side)) / (used.length - 1);
  const nodes = [];
  let y = TOP;
  groups.forEach((g, i) => {
    const clock = new Date(g.record.timeMs).toLocaleTimeString([], { hour12: false });
    nodes.push(time ? svg("text", { x: 0, y: y + LINE - 3, class: "time" }, clock)
      : svg("text", { x: width, y: y + LINE - 3, class: "time", "text-anchor": "end" }, clock));
    if (g.times > 1) nodes.push(svg("text", { x: time ? 0 : width, y: y + 2 * LINE - 3, class: "time", "text-anchor": time ? "start" : "end" }, "× " + g.times));
    if (!time) y += LINE;
    for (const step of g.steps) {
      const a = arrow(step, y, x, width, i >= seen && seen > 0);
      nodes.push(a.node);
      y += a.height;
    }
    y += GAP;
  });
  const bottom = y + 4;
  const heads = used.map((a) => svg("g", { class: "actor" },
    svg("line", { x1: x(a), y1: TOP - 10, x2: x(a), y2: bottom, class: "life" }),
    svg("rect", { x: x(a) - side, y: 4, width: 2 * side, height: 24, rx: 6 }),
    svg("text", { x: x(a), y: 20, "text-anchor": "middle" }, a)));
  const picture = svg("svg", { class: "sequence", viewBox: `0 0 ${width} ${bottom}`, width, height: bottom, role: "img",
    "aria-label": `Sequence diagram of ${records.length} records; the list below says the same in words` }, heads, nodes);
  return { picture, groups: groups.length };
}
