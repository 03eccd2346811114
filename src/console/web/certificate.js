// SPDX-License-Identifier: Apache-2.0
// One certificate: what it is, what may be done with it, and what happened to it, live.
import { el, pill, when, button, copyButton, facts, toast, confirmed, notice } from "./dom.js";
import { view, call, label, arn } from "./api.js";
import { sequence } from "./sequence.js";
import { recordCard, merged } from "./record.js";

const SHOWN = 200;
// SPEC: REVOKED is final
const ACTIONS = { ACTIVE: ["INACTIVE", "REVOKED"], INACTIVE: ["ACTIVE", "REVOKED"], PENDING_ACTIVATION: ["ACTIVE", "INACTIVE", "REVOKED"], REVOKED: [] };
const VERBS = { ACTIVE: "Activate", INACTIVE: "Deactivate", REVOKED: "Revoke" };

export async function showCertificate(page) {
  const id = page.args[0];
  const path = "/certificates/" + id;
  const heading = page.title("Certificate");
  const state = el("span");
  const actions = el("div", { class: "actions" });
  const about = el("div");
  const diagram = el("div", { class: "diagram scroll" });
  const list = el("ol", { class: "records", reversed: true });
  let records = [];
  let drawn = 0;

  heading.after(state, actions);
  page.root.append(about, el("h2", null, "What happened"), diagram, el("h2", null, "The same in words, newest first"), list);

  async function setStatus(status) {
    if (status === "REVOKED" && !(await confirmed("Revoke this certificate?", "REVOKED is final: the device needs another certificate to come in again.", "Revoke")))
      return;
    await call("PUT", path, { params: { newStatus: status } });
    toast(`The certificate is ${status} now`);
  }

  async function remove() {
    if (!(await confirmed("Delete this certificate?", "Its policies are detached. If its CA registers devices by itself, the device can come back as a newcomer.", "Delete")))
      return;
    await call("DELETE", path, { params: { forceDelete: true } });
    toast("Deleted");
    location.hash = "#/certificates";
  }

  function policiesCard(c, all) {
    const target = arn("cert", id);
    const names = el("datalist", { id: "policy-names" }, all.filter((p) => !c.policies.includes(p.policyName)).map((p) => el("option", { value: p.policyName })));
    const choice = el("input", { list: "policy-names", placeholder: "policy", spellcheck: "false", "aria-label": "Policy to attach" });
    return el("div", { class: "policies" },
      c.policies.length ? c.policies.map((p) => el("span", { class: "tag" }, el("a", { href: "#/policies/" + label(p) }, p), " ",
        button("✕", async () => { await call("POST", "/target-policies/" + label(p), { body: { target } }); await load(); }, "small quiet"))) : el("span", { class: "muted" }, "none attached "),
      c.effectivePolicies.filter((p) => !c.policies.includes(p)).map((p) => el("span", { class: "tag" }, el("a", { href: "#/policies/" + label(p) }, p), " by group")),
      names.children.length ? [names, choice, button("Attach", async () => { await call("PUT", "/target-policies/" + label(choice.value), { body: { target } }); await load(); }, "small")] : null);
  }

  function draw() {
    const width = Math.max(320, Math.min(1100, Math.floor(diagram.clientWidth || page.root.clientWidth) - 2));
    if (!records.length) {
      diagram.replaceChildren(el("p", { class: "muted" }, "Nothing is recorded of it yet."));
      return;
    }
    const { picture, groups } = sequence(records.slice(-SHOWN), width, drawn);
    drawn = groups;
    diagram.replaceChildren(picture);
  }

  function drawList() {
    list.replaceChildren(...records.slice(-SHOWN).reverse().map((r) => recordCard(r, { certificate: false })));
  }

  async function load() {
    let c;
    try {
      c = await view("certificate", { id });
    } catch (e) {
      if (e.status !== 404) throw e;
      heading.textContent = "Unknown certificate";
      state.replaceChildren();
      actions.replaceChildren();
      about.replaceChildren(notice("info", "Not registered", "Only what was recorded of it is known.", el("p", null, el("code", null, id))));
      return;
    }
    const all = (await call("GET", "/policies", { params: { pageSize: 250 } })).policies;
    if (page.gone) return;
    heading.textContent = c.commonName || c.subject || "Certificate";
    document.title = heading.textContent + " · Birthmark";
    state.replaceChildren(pill(c.status));
    actions.replaceChildren(...(ACTIONS[c.status] || []).map((s) => button(VERBS[s], () => setStatus(s), s === "ACTIVE" ? "primary" : s === "REVOKED" ? "danger" : "")),
      ...(c.status === "ACTIVE" ? [] : [button("Delete", remove, "danger")]));
    about.replaceChildren(el("div", { class: "card" }, facts([
      ["Certificate id", el("code", { class: "id long" }, id), " ", copyButton(id, "Id")],
      ["Subject", c.subject || ""], ["Issuer", c.caCertificateId ? el("a", { href: "#/cas/" + c.caCertificateId }, c.issuer) : c.issuer || ""],
      ["Valid", when(c.notBeforeMs), " to ", when(c.notAfterMs)], ["Registered", when(c.createdMs)],
      c.things.length ? ["Things", c.things.join(", ")] : null,
      ["Policies", policiesCard(c, all)]])));
  }

  page.on("record", async (r) => {
    if (r.certificateId !== id) return;
    records.push(r);
    draw();
    list.prepend(recordCard(r, { certificate: false }));
    if (r.class === "change") await load();
  });
  page.on("gap", async () => { records = (await view("timeline", { certificate: id, limit: SHOWN })).records; draw(); drawList(); });
  let width = 0;
  const watch = new ResizeObserver(() => { if (diagram.clientWidth !== width) { width = diagram.clientWidth; draw(); } });
  page.onLeave(() => watch.disconnect());

  const { records: read } = await view("timeline", { certificate: id, limit: SHOWN });
  records = merged(read, records);
  await load();
  if (page.gone) return;
  draw();
  drawList();
  watch.observe(diagram);
}
