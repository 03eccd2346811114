// SPDX-License-Identifier: Apache-2.0
// The list of certificates. A search that finds little goes on by itself, slice by slice, for a while; then it says how far it is
// and waits to be told to go on. It can be stopped before.
import { el, pill, shortId, when, row, table, button } from "./dom.js";
import { view } from "./api.js";

const COLUMNS = ["Name", "State", "Certificate id", "Client id", "Registered", "Valid until"];
const STATES = ["", "ACTIVE", "PENDING_ACTIVATION", "INACTIVE", "REVOKED"];
const PAGE = 25;
const AT_ONCE = 1000000; // looked at until the person is asked: some seconds

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
  const stop = button("Stop", () => { run++; finish(); }, "more");
  let run = 0;
  let marker = "";
  let examined = 0;
  let total = 0;
  let query; // what the rows are the answer to

  state.value = STATES.includes(params.get("status")) ? params.get("status") : "";
  page.title("Certificates");
  page.root.append(el("div", { class: "filters" }, search, state,
    params.get("ca") ? el("span", { class: "tag" }, "of CA ", shortId(params.get("ca")), " ", el("a", { href: "#/certificates" }, "all")) : null),
  body, said, el("div", { class: "actions" }, more, stop));

  const searching = () => Boolean(query.search || query.status);
  const number = (n) => n.toLocaleString("en");

  function tell() {
    const looked = !searching() ? "" : marker && !query.ca ? `, ${number(examined)} of ${number(total)} looked at, newest first` : `, ${number(examined)} looked at`;
    said.textContent = `${rows.children.length} shown${looked}` + (marker ? "" : rows.children.length ? ", that is all" : ": there is none");
  }

  function finish() {
    stop.hidden = true;
    more.hidden = !marker;
    more.textContent = searching() ? "Search on" : "Show more";
  }

  async function load() {
    const mine = ++run;
    const until = examined + AT_ONCE;
    let added = 0;
    stop.hidden = false;
    more.hidden = true;
    do {
      const answer = await view("certificates", { ...query, marker, limit: PAGE });
      if (mine !== run || page.gone) return;
      marker = answer.nextMarker;
      examined += answer.examined;
      total = answer.total;
      added += answer.certificates.length;
      rows.append(...answer.certificates.map((c) => row(COLUMNS, cells(c))));
      tell();
    } while (marker && added < PAGE && examined < until);
    finish();
  }

  function restart() {
    query = { search: search.value.trim(), status: state.value, ca: params.get("ca") };
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
  await restart();
}
