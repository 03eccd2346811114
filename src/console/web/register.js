// SPDX-License-Identifier: Apache-2.0
// Register a CA, as the application note's figures 16 and 25: code, verification certificate, CA, switches.
import { el, field, notice, copyButton, busy, toast } from "./dom.js";
import { call } from "./api.js";

// A box for a PEM text: paste it, drop a file, or choose one.
function pemBox(name, hint) {
  const area = el("textarea", { rows: 6, spellcheck: "false", placeholder: "-----BEGIN CERTIFICATE-----", "aria-label": name });
  const file = el("input", { type: "file", accept: ".pem,.crt,.cer", "aria-label": `Choose the file of the ${name}` });
  const box = el("div", { class: "drop" }, area, file, el("small", null, hint));
  const read = async (f) => { if (f) area.value = await f.text(); };

  file.addEventListener("change", () => read(file.files[0]));
  for (const event of ["dragenter", "dragover"])
    box.addEventListener(event, (e) => { e.preventDefault(); box.classList.add("over"); });
  for (const event of ["dragleave", "drop"])
    box.addEventListener(event, () => box.classList.remove("over"));
  box.addEventListener("drop", (e) => { e.preventDefault(); read(e.dataTransfer.files[0]); });
  return { box, text: () => area.value.trim() };
}

const step = (n, title, ...more) => el("li", { class: "card stepcard" }, el("h2", null, el("span", { class: "n", "aria-hidden": "true" }, n), title), ...more);

export async function showRegister(page) {
  page.title("Register a CA");
  const { registrationCode: code } = await call("GET", "/registrationcode");
  if (page.gone) return;
  const commands = [
    "openssl ecparam -genkey -name prime256v1 -out verification.key",
    `openssl req -new -key verification.key -subj "/CN=${code}" -out verification.csr`,
    "openssl x509 -req -in verification.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out verification.pem -days 365 -sha256"].join("\n");
  const mode = el("select", null, el("option", { value: "DEFAULT" }, "with a verification certificate (DEFAULT)"), el("option", { value: "SNI_ONLY" }, "without (SNI_ONLY)"));
  const ca = pemBox("CA certificate", "Paste it, drop the file here, or choose it.");
  const verification = pemBox("verification certificate", "Signed by the CA's key; its Common Name is the registration code.");
  const active = el("input", { type: "checkbox", checked: true });
  const auto = el("input", { type: "checkbox", checked: true });
  const result = el("div");
  const submit = el("button", { type: "submit", class: "primary" }, "Register CA certificate");
  const proof = [
    step(1, "Registration code", el("p", null, "It proves that you have the CA's key: it becomes the Common Name of a certificate which the CA signs."),
      el("p", { class: "code" }, el("code", { id: "code" }, code), " ", copyButton(code, "Registration code"))),
    step(2, "Sign a verification certificate", el("p", null, "Where the CA's key is, with ca.pem and ca.key being the CA's:"),
      el("pre", null, commands), copyButton(commands, "Commands"), verification.box)];

  mode.addEventListener("change", () => proof.forEach((s) => { s.hidden = mode.value === "SNI_ONLY"; }));
  async function register() {
    result.replaceChildren();
    try {
      const body = { caCertificate: ca.text(), certificateMode: mode.value };
      if (mode.value === "DEFAULT") body.verificationCertificate = verification.text();
      const answer = await call("POST", "/cacertificate", { params: { setAsActive: active.checked, allowAutoRegistration: auto.checked }, body });
      toast("The CA is registered");
      location.hash = "#/cas/" + answer.certificateId;
    } catch (e) {
      result.append(notice("bad", "The CA was not registered: " + (e.name || "error"), e.message));
      result.firstChild.scrollIntoView({ block: "nearest" });
    }
  }
  page.root.append(el("form", { on: { submit: (e) => { e.preventDefault(); busy(submit, register); } } },
    field("Ownership is proved", mode),
    el("ol", { class: "steps" }, proof,
      step(3, "CA certificate", ca.box),
      step(4, "Register", el("label", { class: "check" }, active, "Activate CA certificate"),
        el("label", { class: "check" }, auto, "Enable auto-registration of device certificates"), result, submit))));
}
