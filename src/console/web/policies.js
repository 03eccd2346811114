// SPDX-License-Identifier: Apache-2.0
// Policies: list, editor with versions, and a test box that says which statement decided.
import { el, when, table, pagedTable, button, field, toast, confirmed, notice, shortId } from "./dom.js";
import { call, post, label, arn } from "./api.js";

const template = () => JSON.stringify({ Version: "2012-10-17", Statement: [
  { Effect: "Allow", Action: "iot:Connect", Resource: arn("client", "${iot:ClientId}") },
  { Effect: "Allow", Action: ["iot:Publish", "iot:Receive"], Resource: arn("topic", "${iot:ClientId}/*") },
  { Effect: "Allow", Action: "iot:Subscribe", Resource: arn("topicfilter", "${iot:ClientId}/*") }] }, null, 2);
const PAGE = 50;
const RESOURCES = { "iot:Connect": "client id", "iot:Publish": "topic", "iot:RetainPublish": "topic", "iot:Subscribe": "topic filter", "iot:Receive": "topic" };

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

const editor = (text) => el("textarea", { class: "editor", rows: 18, spellcheck: "false", "aria-label": "Policy document", value: text });

export async function showPolicies(page) {
  page.title("Policies");
  let any = false;
  const list = await pagedTable(["Name", "ARN"], "There is no policy yet. Without one a certificate may do nothing, not even connect.", async (marker) => {
    const { policies, nextMarker } = await call("GET", "/policies", { params: { pageSize: PAGE, marker } });
    any ||= policies.length > 0;
    return { rows: policies.map((p) => [el("a", { href: "#/policies/" + label(p.policyName) }, p.policyName), el("code", null, p.policyArn)]), next: nextMarker };
  });
  if (page.gone) return;
  const name = el("input", { required: true, pattern: "[\\w+=,.@\\-]+", spellcheck: "false" });
  const document = editor(template());
  const result = el("div");
  page.root.append(
    list,
    el("details", { class: "card", open: !any }, el("summary", null, "Create a policy"),
      el("form", { on: { submit: async (e) => {
        e.preventDefault();
        try {
          await call("POST", "/policies/" + label(name.value), { body: { policyDocument: document.value } });
          toast("Created");
          location.hash = "#/policies/" + label(name.value);
        } catch (error) { result.replaceChildren(notice("bad", error.name || "Refused", error.message)); }
      } } }, field("Name", name), document, result, el("button", { type: "submit", class: "primary" }, "Create policy"))));
}

function testBox(document) {
  const action = el("select", null, Object.keys(RESOURCES).map((a) => el("option", null, a)));
  const client = el("input", { value: "d1", spellcheck: "false" });
  const resource = el("input", { value: "d1", spellcheck: "false" });
  const certificate = el("input", { placeholder: "optional, 64 hex digits", spellcheck: "false" });
  const what = el("span", null, "client id");
  const result = el("div", { role: "status", class: "verdict" });

  action.addEventListener("change", () => { what.textContent = RESOURCES[action.value]; });
  async function test(e) {
    e.preventDefault();
    try {
      const v = await post("/view/policy-test", { document: document.value, action: action.value, clientId: client.value, resource: resource.value, certificateId: certificate.value.trim() });
      const statement = v.statement ? [].concat(JSON.parse(v.document).Statement)[v.statement - 1] : null;
      result.replaceChildren(notice(v.allowed ? "good" : "bad", v.allowed ? "Allowed" : "Denied",
        !v.statement ? "No statement allows it."
          : v.allowed ? `Statement ${v.statement} allows it.`
            : v.kind === "explicitDeny" ? `Statement ${v.statement} denies it, which no Allow overrides.` : `Statement ${v.statement} would allow it, but its Condition does not hold.`,
        statement ? el("pre", null, JSON.stringify(statement, null, 2)) : ""));
    } catch (error) { result.replaceChildren(notice("bad", "The document cannot be used", error.message)); }
  }
  return el("section", { class: "card" }, el("h2", null, "Test box"), el("p", { class: "muted" }, "Asks the text above, saved or not."),
    el("form", { class: "grid", on: { submit: test } }, field("Action", action), field("Client id", client),
      el("label", { class: "field" }, el("span", null, "Resource: ", what), resource), field("Certificate id", certificate),
      el("div", { class: "actions" }, el("button", { type: "submit", class: "primary" }, "Test"))), result);
}

export async function showPolicy(page) {
  const name = page.args[0];
  const path = "/policies/" + label(name);
  const document = editor("");
  const result = el("div");
  const versions = el("div");
  const targets = el("div");

  page.title(name, el("div", { class: "actions" }, button("Delete", async () => {
    if (!(await confirmed("Delete this policy?", "It must not be attached, and have no version beside the default one.", "Delete"))) return;
    await call("DELETE", path);
    location.hash = "#/policies";
  }, "danger")));
  async function save() {
    result.replaceChildren();
    try {
      const v = await call("POST", path + "/version", { params: { setAsDefault: true }, body: { policyDocument: document.value } });
      toast(`Saved as version ${v.policyVersionId}; it counts from now on`);
      await load(false);
    } catch (e) { result.replaceChildren(notice("bad", e.name || "Refused", e.message)); }
  }
  async function load(withText) {
    const [policy, list, attached] = await Promise.all([call("GET", path), call("GET", path + "/version"),
      call("POST", "/policy-targets/" + label(name), { params: { pageSize: 100 } })]);
    if (page.gone) return;
    if (withText) document.value = pretty(policy.policyDocument);
    versions.replaceChildren(table(["Version", "Created", ""], list.policyVersions.map((v) => [v.versionId + (v.isDefaultVersion ? " (default)" : ""), when(v.createDate * 1000),
      el("div", { class: "actions" }, button("Show", async () => { document.value = pretty((await call("GET", `${path}/version/${v.versionId}`)).policyDocument); }, "small"),
        v.isDefaultVersion ? "" : [button("Make default", async () => { await call("PATCH", `${path}/version/${v.versionId}`); await load(true); }, "small"),
          button("Delete", async () => { await call("DELETE", `${path}/version/${v.versionId}`); await load(false); }, "small danger")])])));
    targets.replaceChildren(attached.targets.length ? el("ul", null, attached.targets.map((t) => {
      const id = t.split("/").pop();
      return el("li", null, t.includes(":cert/") ? el("a", { href: "#/certificates/" + id }, shortId(id)) : el("code", null, t));
    })) : el("p", { class: "muted" }, "attached to nothing"));
  }
  page.root.append(document, result, el("div", { class: "actions" }, button("Save as new default version", save, "primary")), testBox(document),
    el("div", { class: "two" }, el("section", { class: "card" }, el("h2", null, "Versions"), versions), el("section", { class: "card" }, el("h2", null, "Attached to"), targets)));
  await load(true);
}
