// SPDX-License-Identifier: Apache-2.0
// The frame: who is logged in, which page the address names, and what lives as long as that page.
import { el, toast } from "./dom.js";
import { session, resume, logOut, onLoggedOut } from "./api.js";
import * as stream from "./stream.js";
import { showLogin } from "./login.js";
import { showOverview } from "./overview.js";
import { showCertificates } from "./certificates.js";
import { showCertificate } from "./certificate.js";
import { showCas, showCa } from "./cas.js";
import { showRegister } from "./register.js";
import { showPolicies, showPolicy } from "./policies.js";
import { showRules, showRule } from "./rules.js";
import { showFunctions, showFunction } from "./functions.js";
import { showEvents } from "./events.js";
import { showMqtt } from "./mqtt.js";

const routes = [
  [/^$/, "Overview", showOverview],
  [/^certificates$/, "Certificates", showCertificates],
  [/^certificates\/([0-9a-f]{64})$/, "Certificate", showCertificate],
  [/^cas$/, "CAs", showCas],
  [/^cas\/register$/, "Register a CA", showRegister],
  [/^cas\/([0-9a-f]{64})$/, "CA", showCa],
  [/^policies$/, "Policies", showPolicies],
  [/^policies\/(.+)$/, "Policy", showPolicy],
  [/^rules$/, "Rules", showRules],
  [/^rules\/(.+)$/, "Rule", showRule],
  [/^functions$/, "Functions", showFunctions],
  [/^functions\/(.+)$/, "Function", showFunction],
  [/^events$/, "Events", showEvents],
  [/^mqtt$/, "MQTT test client", showMqtt],
];
const menu = [["", "Overview"], ["certificates", "Certificates"], ["cas", "CAs"], ["policies", "Policies"], ["rules", "Rules"],
  ["functions", "Functions"], ["events", "Events"], ["mqtt", "MQTT test client"]];

const main = document.getElementById("main");
const nav = document.getElementById("nav");
let leave = [];

function setFrame(visible) {
  document.getElementById("top").hidden = !visible;
  nav.hidden = !visible;
  document.body.classList.toggle("framed", visible);
}

function setLive(state, why) {
  const live = document.getElementById("live");
  live.textContent = state === "refused" ? "not live: " + why : state;
  live.dataset.state = state;
}

function clear() {
  leave.forEach((fn) => fn());
  leave = [];
  main.replaceChildren();
}

// What a page may use: its root, and what ends when the person goes elsewhere.
function makePage(args) {
  const page = { root: main, args, gone: false };
  page.onLeave = (fn) => leave.push(fn);
  page.on = (event, fn) => page.onLeave(stream.on(event, fn));
  page.every = (ms, fn) => { const t = setInterval(fn, ms); page.onLeave(() => clearInterval(t)); };
  page.title = (text, ...more) => {
    document.title = text + " · Birthmark";
    const h = el("h1", { tabindex: "-1" }, text);
    main.append(el("div", { class: "head" }, h, ...more));
    return h;
  };
  page.onLeave(() => { page.gone = true; });
  return page;
}

async function route() {
  const hash = location.hash.replace(/^#\/?/, "").split("?")[0];
  const found = routes.find(([pattern]) => pattern.test(hash));
  clear();
  for (const a of nav.querySelectorAll("a")) {
    const target = a.getAttribute("href").slice(2);
    if (target === hash || (target && hash.startsWith(target + "/"))) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  nav.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  if (!found) {
    main.append(el("h1", null, "Nothing here"), el("p", null, "This address names no page. ", el("a", { href: "#/" }, "Overview")));
    return;
  }
  const page = makePage(hash.match(found[0]).slice(1).map(decodeURIComponent));
  try {
    await found[2](page);
    if (!page.gone && document.activeElement === document.body) main.querySelector("h1")?.focus({ preventScroll: true });
  } catch (e) {
    if (!page.gone && e.status !== 401)
      main.append(el("div", { class: "notice bad", role: "alert" }, el("strong", null, "This page could not be shown."), el("p", null, e.message)));
  }
}

function showConsole() {
  setFrame(true);
  document.getElementById("where").textContent = `${session.region} · account ${session.account} · MQTT ${session.mqtt}`;
  stream.start(setLive);
  window.onhashchange = () => { document.activeElement?.blur(); route(); };
  route();
}

function askLogin() {
  stream.stop();
  window.onhashchange = null;
  clear();
  setFrame(false);
  showLogin(main, showConsole);
}

// ---- theme: the system's unless the person says otherwise ----

const themes = ["system", "light", "dark"];
function setTheme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  document.getElementById("theme").textContent = "Theme: " + name;
  localStorage.setItem("theme", name);
}
setTheme(themes.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "system");
document.getElementById("theme").onclick = () =>
  setTheme(themes[(themes.indexOf(localStorage.getItem("theme")) + 1) % themes.length]);

// ---- start ----

nav.append(el("ul", null, menu.map(([path, text]) => el("li", null, el("a", { href: "#/" + path }, text)))));
document.querySelector(".skip").onclick = (e) => { e.preventDefault(); main.focus(); };
document.getElementById("logout").onclick = async () => {
  stream.stop();
  try { await logOut(); } catch { /* it had ended already */ }
  askLogin();
};
document.addEventListener("keydown", (e) => {
  const search = main.querySelector("input[type=search]");
  if (e.key !== "/" || !search || /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) return;
  e.preventDefault();
  search.focus();
});
onLoggedOut(() => {
  if (document.body.classList.contains("framed")) {
    askLogin();
    toast("The session has ended; log in again.", "bad");
  }
});
resume().then(showConsole, askLogin);
