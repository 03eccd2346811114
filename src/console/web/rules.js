// SPDX-License-Identifier: Apache-2.0
// Topic rules: what they select, what they do, and what they matched last.
import { el, when, table, button, field, toast, confirmed, notice, pill } from "./dom.js";
import { view, call, label, arn, functionArn } from "./api.js";
import { recordCard, readFacts } from "./record.js";

const SHOWN = 50;

const actionsOf = (payload) => (payload.actions || []).map((a) => Object.keys(a)[0]).join(", ");
const template = () => JSON.stringify({ sql: "SELECT * FROM '$aws/events/certificates/registered/+'", awsIotSqlVersion: "2016-03-23",
  actions: [{ lambda: { functionArn: functionArn("jitr") } }] }, null, 2);
const statePill = (disabled) => pill(disabled ? "INACTIVE" : "ENABLED");

export async function showRules(page) {
  page.title("Rules");
  const body = el("div");
  const name = el("input", { required: true, pattern: "\\w+", spellcheck: "false" });
  const payload = el("textarea", { class: "editor", rows: 10, spellcheck: "false", "aria-label": "Rule payload", value: template() });
  const result = el("div");
  const form = el("details", { class: "card" }, el("summary", null, "Create a rule"), el("form", { on: { submit: async (e) => {
    e.preventDefault();
    try {
      await call("POST", "/rules/" + label(name.value), { raw: payload.value });
      toast("Created");
      location.hash = "#/rules/" + label(name.value);
    } catch (error) { result.replaceChildren(notice("bad", error.name || "Refused", error.message)); }
  } } }, field("Name", name, "letters, digits and _"), payload, result, el("button", { type: "submit", class: "primary" }, "Create rule")));

  async function load() {
    const { rules } = await view("rules");
    if (page.gone) return;
    body.replaceChildren(rules.length ? table(["Name", "State", "Statement", "Actions", "Matches", "Failed", "Last match"], rules.map((r) => [
      el("a", { href: "#/rules/" + label(r.ruleName) }, r.ruleName), statePill(r.disabled), el("code", null, r.payload.sql), actionsOf(r.payload),
      r.matched.toLocaleString("en"), r.failed.toLocaleString("en"), r.lastMatchedMs ? when(r.lastMatchedMs) : el("span", { class: "muted" }, "never")]))
      : el("p", { class: "muted" }, "There is no rule yet."));
  }
  page.root.append(body, form);
  page.on("record", (r) => { if (r.cause.startsWith("rule.")) load(); });
  await load();
}

// A rule may invoke a function only when the function allows it.
function permissions(name, payload) {
  return (payload.actions || []).filter((a) => a.lambda).map((a) => {
    const target = a.lambda.functionArn.split(":").pop();
    return button(`Allow it to invoke ${target}`, async () => {
      await call("POST", `/2015-03-31/functions/${label(target)}/policy`, { body: { StatementId: "console-" + name, Action: "lambda:InvokeFunction",
        Principal: "iot.amazonaws.com", SourceArn: arn("rule", name) } });
      toast(`${target} may be invoked by this rule now`);
    });
  });
}

export async function showRule(page) {
  const name = page.args[0];
  const path = "/rules/" + label(name);
  const heading = page.title(name);
  const state = el("span");
  const actions = el("div", { class: "actions" });
  const payload = el("textarea", { class: "editor", rows: 12, spellcheck: "false", "aria-label": "Rule payload" });
  const allow = el("div", { class: "actions" });
  const numbers = el("p", { class: "muted", role: "status" });
  const result = el("div");
  const list = el("ol", { class: "records" });

  heading.after(state, actions);
  async function load(withText) {
    const r = (await view("rules")).rules.find((x) => x.ruleName === name);
    if (page.gone) return;
    if (!r) throw new Error("There is no rule of this name.");
    if (withText) payload.value = JSON.stringify(r.payload, null, 2);
    state.replaceChildren(statePill(r.disabled));
    numbers.textContent = `${r.matched.toLocaleString("en")} matches, ${r.failed.toLocaleString("en")} failed since the cloud was started`;
    allow.replaceChildren(button("Save", async () => {
      try {
        await call("PATCH", path, { raw: payload.value });
        result.replaceChildren();
        toast("Saved");
        await load(true);
      } catch (e) { result.replaceChildren(notice("bad", e.name || "Refused", e.message)); }
    }, "primary"), ...permissions(name, r.payload));
    actions.replaceChildren(r.disabled ? button("Enable", async () => { await call("POST", path + "/enable"); await load(false); }, "primary")
      : button("Disable", async () => { await call("POST", path + "/disable"); await load(false); }),
    button("Delete", async () => {
      if (!(await confirmed("Delete this rule?", "Its function stays.", "Delete"))) return;
      await call("DELETE", path);
      location.hash = "#/rules";
    }, "danger"));
  }
  page.root.append(payload, result, allow, el("h2", null, "Last matches"), numbers, list);
  const add = (r) => {
    list.querySelector(".none")?.remove();
    list.prepend(recordCard(r));
    while (list.children.length > SHOWN) list.lastChild.remove();
  };
  await load(true);
  const { records } = await view("timeline", { rule: name, limit: SHOWN });
  records.forEach(add);
  if (!records.length) list.append(el("li", { class: "none muted" }, "It has matched nothing lately."));
  page.on("record", (r) => {
    if (!r.cause.startsWith("rule.") || readFacts(r.facts).rule !== name) return;
    add(r);
    load(false);
  });
}
