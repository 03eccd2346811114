// SPDX-License-Identifier: Apache-2.0
// Elements without markup: text from outside (names, client ids, topics) only ever becomes text.

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "on") for (const [event, fn] of Object.entries(value)) node.addEventListener(event, fn);
    else if (name === "value") node.value = value;
    else if (name === "checked") node.checked = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(3).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

export const el = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const svg = (tag, props, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);

export function pill(status) {
  return el("span", { class: "pill", "data-status": status }, status.replaceAll("_", " ").toLowerCase());
}

export const shortId = (id) => el("code", { title: id, class: "id" }, id.slice(0, 12) + "…");

export function when(ms) {
  const d = new Date(ms);
  const today = d.toDateString() === new Date().toDateString();
  const text = today
    ? d.toLocaleTimeString([], { hour12: false })
    : d.toLocaleDateString([], { year: "numeric", month: "short", day: "numeric" });
  return el("time", { datetime: d.toISOString(), title: d.toISOString() }, text);
}

export function button(text, fn, kind) {
  const b = el("button", { type: "button", class: kind || false, on: { click: () => busy(b, fn) } }, text);
  return b;
}

// A button that works cannot be pressed twice; what goes wrong is said.
export async function busy(b, fn) {
  b.disabled = true;
  try {
    await fn();
  } catch (e) {
    toast(e.message, "bad");
  } finally {
    b.disabled = false;
  }
}

export function copyButton(text, what) {
  return button("Copy", async () => {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  }, "small");
}

export function toast(text, kind) {
  const t = el("div", { class: "toast " + (kind || "good") }, text);
  document.getElementById("toasts").append(t);
  setTimeout(() => t.remove(), kind === "bad" ? 12000 : 4000);
}

// The same sentence in place, for what a person has to read before going on.
export function notice(kind, title, ...more) {
  return el("div", { class: "notice " + kind, role: kind === "bad" ? "alert" : "note" }, el("strong", null, title),
    ...more.map((m) => (typeof m === "string" ? el("p", null, m) : m)));
}

export function field(label, input, hint) {
  return el("label", { class: "field" }, el("span", null, label), input, hint ? el("small", null, hint) : null);
}

// A table that is a list of cards on a phone: each cell knows its column's name.
export function table(columns, rows) {
  return el("div", { class: "scroll" }, el("table", null,
    el("thead", null, el("tr", null, columns.map((c) => el("th", { scope: "col" }, c)))),
    el("tbody", null, rows.map((r) => row(columns, r)))));
}

export function row(columns, cells) {
  return el("tr", null, cells.map((c, i) => el("td", { "data-label": columns[i] }, c)));
}

// A table that is read page by page: `read(marker)` resolves to {rows, next}; `none` is said when there is nothing.
export async function pagedTable(columns, none, read) {
  const body = table(columns, []);
  const rows = body.querySelector("tbody");
  const more = button("Show more", async () => load(), "more");
  let marker;
  async function load() {
    const part = await read(marker);
    marker = part.next;
    rows.append(...part.rows.map((r) => row(columns, r)));
    more.hidden = !marker;
  }
  await load();
  return rows.children.length ? el("div", null, body, more) : el("p", { class: "muted" }, none);
}

export function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter((p) => p).map(([k, ...v]) => el("div", null, el("dt", null, k), el("dd", null, v))));
}

// Asks before what cannot be undone. Resolves to true when the person says so.
export function confirmed(title, text, yes) {
  return new Promise((resolve) => {
    const d = el("dialog", { "aria-labelledby": "dialog-title" },
      el("h2", { id: "dialog-title" }, title), el("p", null, text),
      el("div", { class: "actions" },
        el("button", { type: "button", autofocus: true, on: { click: () => d.close("") } }, "Cancel"),
        el("button", { type: "button", class: "danger", on: { click: () => d.close("yes") } }, yes)));
    d.addEventListener("close", () => { d.remove(); resolve(d.returnValue === "yes"); });
    document.body.append(d);
    d.showModal();
  });
}
