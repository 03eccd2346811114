// SPDX-License-Identifier: Apache-2.0
// The list of certificates. A search that finds little goes on by itself, page by page, and can be stopped.
import { el, pill, shortId, when, row, table, button } from "./dom.js";
import { view } from "./api.js";

const COLUMNS = ["Name", "State", "Certificate id", "Client id", "Registered", "Valid until"];
const STATES = ["", "ACTIVE", "PENDING_ACTIVATION", "INACTIVE", "REVOKED"];
const PAGE = 25;

const cells = (c) => [
  el("a", { href: "#/certificates/" + c.certificateId }, c.commonName || c.subject || "(no name)"),
  pill(c.status), shortId(c.certificateId), c.clientId || el("span", { class: "muted" }, "–"), when(c.createdMs), when(c.notAfterMs)];

export async function showCertificates(page) {
  const params = new URLSearchParams(location.hash.split("?")[1] || "");
  const search = el("input", { type: "search", placeholder: "Name, certificate id or client id", "aria-label": "Search certificates", value: params.get("search") || "" });
  const state = el("select", { "aria-label": "State" }, STATES.map((s) => el("option", { value: s }, s ? s.replaceAll("_", " ").toLowerCase() : "all states")));
  const body = table(COLUMNS, []);
  const rows = body.querySelector("tbody");
  const said = el("p", { class: "muted", role: "status" });
  const more = button("Show more", () => load(), "more");
  const stop = button("Stop", () => { run++; said.textContent += " (stopped)"; finish(); }, "more");
  let run = 0;
  let marker = "";
  let examined = 0;

  state.value = STATES.includes(params.get("status")) ? params.get("status") : "";
  page.title("Certificates");
  page.root.append(el("div", { class: "filters" }, search, state,
    params.get("ca") ? el("span", { class: "tag" }, "of CA ", shortId(params.get("ca")), " ", el("a", { href: "#/certificates" }, "all")) : null),
  body, said, el("div", { class: "actions" }, more, stop));

  function finish() {
    stop.hidden = true;
    more.hidden = !marker;
  }

  async function load() {
    const mine = ++run;
    let added = 0;
    stop.hidden = false;
    more.hidden = true;
    do {
      const answer = await view("certificates", { search: search.value.trim(), status: state.value, ca: params.get("ca"), marker, limit: PAGE });
      if (mine !== run || page.gone) return;
      marker = answer.nextMarker;
      examined += answer.examined;
      added += answer.certificates.length;
      rows.append(...answer.certificates.map((c) => row(COLUMNS, cells(c))));
      said.textContent = `${rows.children.length} shown` + (search.value || state.value ? `, ${examined.toLocaleString("en")} looked at` : "") + (marker ? "" : rows.children.length ? ", that is all" : ": there is none");
    } while (marker && added < PAGE);
    finish();
  }

  function restart() {
    marker = "";
    examined = 0;
    rows.replaceChildren();
    return load();
  }

  let timer = 0;
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(restart, 200); });
  state.addEventListener("change", restart);
  page.onLeave(() => { run++; clearTimeout(timer); });
  page.on("record", (r) => { // a newcomer, while the top of the list is what is shown
    if (!rows.contains(document.activeElement) && /^certificate\.(registered|created|status|deleted)$/.test(r.cause) && rows.children.length <= PAGE && !search.value) {
      clearTimeout(timer);
      timer = setTimeout(restart, 300);
    }
  });
  await load();
}
