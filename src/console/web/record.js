// SPDX-License-Identifier: Apache-2.0
// A timeline record in words: cause, evidence, cure, all from the cloud's one table of causes.
import { el, shortId, when, pill } from "./dom.js";

// "rule=jitr topic=a/b subject='CN=x y'" as an object
export function readFacts(text) {
  const out = {};
  for (const [, key, quoted, plain] of (text || "").matchAll(/([A-Za-z][\w-]*)=(?:'([^']*)'|(\S*))/g)) out[key] = quoted ?? plain;
  return out;
}

// Commands stand in backquotes in the table of causes.
export function withCommands(text) {
  return text.split("`").map((part, i) => (i % 2 ? el("code", null, part) : part));
}

// What was read, and after it what came live while it was read and is not in it.
export function merged(read, live) {
  const known = new Set(read.map((r) => JSON.stringify(r)));
  return read.concat(live.filter((r) => !known.has(JSON.stringify(r))));
}

export function recordCard(r, { certificate = true } = {}) {
  return el("li", { class: "record " + r.class, "data-cause": r.cause },
    el("div", { class: "recordhead" }, when(r.timeMs), el("code", { class: "cause" }, r.cause), r.status ? pill(r.status) : null,
      r.clientId ? el("span", { class: "client" }, "client ", el("b", null, r.clientId)) : null,
      certificate && r.certificateId ? el("a", { href: (r.cause.startsWith("ca.") ? "#/cas/" : "#/certificates/") + r.certificateId }, shortId(r.certificateId)) : null),
    el("p", null, r.sentence),
    r.facts || r.peer ? el("p", { class: "evidence" }, el("span", null, "Evidence "), [r.peer ? "peer=" + r.peer : "", r.facts].filter(Boolean).join(" ")) : null,
    r.cure ? el("p", { class: "cure" }, el("span", null, "Cure "), withCommands(r.cure)) : null);
}
