// SPDX-License-Identifier: Apache-2.0
// Functions: list, invoke with an event of one's own, logs as they are written.
import { el, when, pagedTable, button, field, facts, toast, confirmed, notice, busy } from "./dom.js";
import { view, call, callWithHeaders, label } from "./api.js";

const FUNCTIONS = "/2015-03-31/functions";
const RUNTIMES = ["python3.11", "nodejs20.x", "provided.al2023"];
const LOG_MS = 1500;
const LOG_KEPT = 200000;

const size = (bytes) => (bytes < 10240 ? `${bytes} bytes` : `${Math.round(bytes / 1024).toLocaleString("en")} KB`);

async function base64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}

export async function showFunctions(page) {
  page.title("Functions");
  const list = await pagedTable(["Name", "Runtime", "Handler", "Code", "Modified"], "There is no function yet.", async (marker) => {
    const answer = await call("GET", FUNCTIONS + "/", { params: { Marker: marker } });
    return { next: answer.NextMarker, rows: answer.Functions.map((f) => [el("a", { href: "#/functions/" + label(f.FunctionName) }, f.FunctionName), f.Runtime,
      el("code", null, f.Handler), size(f.CodeSize), f.LastModified.slice(0, 19).replace("T", " ")]) };
  });
  if (page.gone) return;
  const name = el("input", { required: true, pattern: "[\\w\\-]+", spellcheck: "false" });
  const runtime = el("select", null, RUNTIMES.map((r) => el("option", null, r)));
  const handler = el("input", { value: "lambda_function.lambda_handler", spellcheck: "false" });
  const zip = el("input", { type: "file", accept: ".zip", required: true });
  const submit = el("button", { type: "submit", class: "primary" }, "Create function");
  const result = el("div");
  async function create() {
    try {
      await call("POST", FUNCTIONS, { body: { FunctionName: name.value, Runtime: runtime.value, Handler: handler.value, Role: "arn:aws:iam::000000000000:role/any",
        Timeout: 30, Code: { ZipFile: await base64(zip.files[0]) } } });
      toast("Created");
      location.hash = "#/functions/" + label(name.value);
    } catch (error) { result.replaceChildren(notice("bad", error.name || "Refused", error.message)); }
  }
  page.root.append(list, el("details", { class: "card" }, el("summary", null, "Create a function"),
    el("form", { on: { submit: (e) => { e.preventDefault(); busy(submit, create); } } }, field("Name", name), field("Runtime", runtime), field("Handler", handler),
      field("Package", zip, "a zip of at most 5 MB; larger ones with aws lambda create-function"), result, submit)));
}

function invokeBox(name) {
  const event = el("textarea", { class: "editor", rows: 5, spellcheck: "false", "aria-label": "Event", value: "{}" });
  const result = el("div", { role: "status" });
  return el("section", { class: "card" }, el("h2", null, "Invoke"), event, el("div", { class: "actions" }, button("Invoke", async () => {
    try {
      const { value, headers } = await callWithHeaders("POST", `${FUNCTIONS}/${label(name)}/invocations`, event.value);
      const failed = headers.get("x-amz-function-error");
      result.replaceChildren(notice(failed ? "bad" : "good", failed ? "The function failed" : "It answered", el("pre", null, JSON.stringify(value, null, 2))));
    } catch (e) { result.replaceChildren(notice("bad", e.name || "Refused", e.message)); }
  }, "primary")), result);
}

export async function showFunction(page) {
  const name = page.args[0];
  const path = `${FUNCTIONS}/${label(name)}`;
  const log = el("pre", { class: "log", tabindex: "0", "aria-label": "Log" });
  const follow = el("input", { type: "checkbox", checked: true });
  let next = null;

  page.title(name, el("div", { class: "actions" }, button("Delete", async () => {
    if (!(await confirmed("Delete this function?", "Rules that invoke it will fail.", "Delete"))) return;
    await call("DELETE", path);
    location.hash = "#/functions";
  }, "danger")));
  const { Configuration: f } = await call("GET", path);
  if (page.gone) return;
  page.root.append(el("div", { class: "card" }, facts([["Runtime", f.Runtime], ["Handler", el("code", null, f.Handler)], ["Timeout", f.Timeout + " s"],
    ["Memory", f.MemorySize + " MB"], ["Code", size(f.CodeSize)], ["Modified", when(Date.parse(f.LastModified.replace("+0000", "Z")))],
    ["ARN", el("code", { class: "id long" }, f.FunctionArn)]])), invokeBox(name),
  el("div", { class: "head" }, el("h2", null, "Log"), el("label", { class: "check" }, follow, "follow")), log);

  async function read() {
    if (document.visibilityState !== "visible") return;
    const part = await view("log", { function: name, from: next === null ? undefined : next }).catch(() => null);
    if (!part || page.gone || (next !== null && part.next === next)) return;
    if (next !== null && part.from !== next) log.textContent = ""; // begun anew
    next = part.next;
    log.textContent = (log.textContent + part.text).slice(-LOG_KEPT);
    if (follow.checked) log.scrollTop = log.scrollHeight;
  }
  page.every(LOG_MS, read);
  await read();
  if (!log.textContent) log.textContent = "";
}
