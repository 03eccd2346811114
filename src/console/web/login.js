// SPDX-License-Identifier: Apache-2.0
// The keys that the aws CLI uses open the console, too.
import { el, field } from "./dom.js";
import { logIn } from "./api.js";

export function showLogin(root, done) {
  const access = el("input", { name: "accessKey", autocomplete: "username", required: true, spellcheck: "false", autocapitalize: "none" });
  const secret = el("input", { name: "secretKey", type: "password", autocomplete: "current-password", required: true });
  const wrong = el("p", { class: "wrong", role: "alert" });
  const submit = el("button", { type: "submit", class: "primary" }, "Log in");

  document.title = "Log in · Birthmark";
  root.append(el("form", {
    class: "login card",
    on: {
      submit: async (e) => {
        e.preventDefault();
        submit.disabled = true;
        wrong.textContent = "";
        try {
          await logIn(access.value, secret.value);
          root.replaceChildren();
          done();
        } catch (error) {
          wrong.textContent = error.message;
          secret.select();
        }
        submit.disabled = false;
      },
    },
  },
  el("img", { src: "/favicon.svg", alt: "", width: "44", height: "44" }),
  el("h1", null, "Birthmark console"),
  el("p", { class: "muted" }, "Log in with the keys that the aws CLI uses for this cloud."),
  field("Access key", access), field("Secret key", secret), wrong, submit));
  access.focus();
}
