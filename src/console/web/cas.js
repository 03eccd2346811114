// SPDX-License-Identifier: Apache-2.0
// CAs: the list, and one CA with what may be done with it.
import { el, pill, shortId, when, table, button, copyButton, facts, toast, confirmed } from "./dom.js";
import { view, call } from "./api.js";

const COLUMNS = ["Name", "State", "Auto-registration", "CA id", "Registered", "Valid until"];
const PAGE = 50;

const autoPill = (on) => el("span", { class: "pill", "data-status": on ? "ENABLE" : "DISABLE" }, on ? "enabled" : "disabled");

export async function showCas(page) {
  const rows = [];
  const search = el("input", { type: "search", placeholder: "Name or id", "aria-label": "Search CAs" });
  const body = el("div");
  let marker = "";

  page.title("CAs", el("div", { class: "actions" }, el("a", { class: "button primary", href: "#/cas/register" }, "Register a CA")));
  page.root.append(el("div", { class: "filters" }, search), body);
  const more = button("Show more", () => load());

  function draw() {
    const wanted = search.value.trim().toLowerCase();
    const shown = rows.filter((c) => !wanted || (c.subject || "").toLowerCase().includes(wanted) || c.certificateId.startsWith(wanted));
    body.replaceChildren(shown.length ? table(COLUMNS, shown.map((c) => [
      el("a", { href: "#/cas/" + c.certificateId }, c.commonName || c.subject || "(no name)"), pill(c.status), autoPill(c.autoRegistration),
      shortId(c.certificateId), when(c.createdMs), when(c.notAfterMs)]))
      : el("p", { class: "muted" }, rows.length ? "None has this name." : "No CA is registered yet."), marker ? more : "");
  }
  async function load() {
    const answer = await view("cas", { marker, limit: PAGE });
    if (page.gone) return;
    marker = answer.nextMarker;
    rows.push(...answer.cas);
    draw();
  }
  search.addEventListener("input", draw);
  page.on("record", async (r) => {
    if (!r.cause.startsWith("ca.")) return;
    rows.length = 0;
    marker = "";
    await load();
  });
  await load();
}

export async function showCa(page) {
  const id = page.args[0];
  const path = "/cacertificate/" + id;
  const heading = page.title("CA");
  const state = el("span");
  const actions = el("div", { class: "actions" });
  const about = el("div");

  heading.after(state, actions);
  page.root.append(about);
  const change = (params, said) => async () => {
    await call("PUT", path, { params, body: {} });
    toast(said);
    await load();
  };
  async function remove() {
    if (!(await confirmed("Delete this CA?", "Its devices keep their certificates, but newcomers are refused.", "Delete"))) return;
    await call("DELETE", path);
    toast("Deleted");
    location.hash = "#/cas";
  }
  async function load() {
    const d = (await call("GET", path)).certificateDescription;
    const names = (await view("cas", { id })).cas[0] || {};
    if (page.gone) return;
    const active = d.status === "ACTIVE";
    const auto = d.autoRegistrationStatus === "ENABLE";
    heading.textContent = names.commonName || names.subject || "CA";
    state.replaceChildren(pill(d.status));
    actions.replaceChildren(
      active ? button("Deactivate", change({ newStatus: "INACTIVE" }, "The CA is INACTIVE now")) : button("Activate", change({ newStatus: "ACTIVE" }, "The CA is ACTIVE now"), "primary"),
      auto ? button("Disable auto-registration", change({ newAutoRegistrationStatus: "DISABLE" }, "Newcomers are refused now"))
        : button("Enable auto-registration", change({ newAutoRegistrationStatus: "ENABLE" }, "Newcomers are registered now"), "primary"),
      active ? "" : button("Delete", remove, "danger"));
    about.replaceChildren(el("div", { class: "card" }, facts([
      ["CA id", el("code", { class: "id long" }, id), " ", copyButton(id, "Id")],
      ["Subject", names.subject || ""], ["Issuer", names.issuer || ""],
      ["Auto-registration", autoPill(auto)], ["Mode", d.certificateMode],
      ["Valid", when(d.validity.notBefore * 1000), " to ", when(d.validity.notAfter * 1000)], ["Registered", when(d.creationDate * 1000)],
      ["Devices", el("a", { href: "#/certificates?ca=" + id }, "certificates of this CA")]]),
    el("details", null, el("summary", null, "Certificate (PEM)"), copyButton(d.certificatePem, "PEM"), el("pre", null, d.certificatePem))));
  }
  page.on("record", (r) => { if (r.certificateId === id) load(); });
  await load();
}
