// SPDX-License-Identifier: Apache-2.0
// How the cloud is: certificates by state, rates, what was refused last.
import { el, notice } from "./dom.js";
import { view, session } from "./api.js";
import { plot, rates, number } from "./plot.js";
import { recordCard } from "./record.js";

const STATES = ["ACTIVE", "PENDING_ACTIVATION", "INACTIVE", "REVOKED"];
const SAMPLES = 300;

function statesCard(counts) {
  const total = counts.total || 0;
  return el("section", { class: "card states", "aria-label": "Certificates by state" },
    el("h2", null, number(total), total === 1 ? " certificate" : " certificates"),
    el("div", { class: "bar", "aria-hidden": "true" }, STATES.filter((s) => counts[s] > 0).map((s) => {
      const part = el("span", { "data-status": s });
      part.style.flexGrow = counts[s];
      return part;
    })),
    el("ul", { class: "legend" }, STATES.map((s) => el("li", null,
      el("a", { href: "#/certificates?status=" + s }, el("i", { "data-status": s }), s.replaceAll("_", " ").toLowerCase(), " ",
        el("b", null, counts[s] === undefined ? "…" : number(counts[s])))))));
}

function plots(samples) {
  return [
    plot("Connections", "open", [{ kind: "main", points: samples.map((s) => [s[0], s[1]]) }]),
    plot("Connects", "per second", [{ name: "admitted/s", kind: "good", points: rates(samples, 3) }, { name: "refused/s", kind: "bad", points: rates(samples, 4) }]),
    plot("Messages", "per second", [{ name: "in/s", kind: "main", points: rates(samples, 5) }, { name: "out/s", kind: "second", points: rates(samples, 6) }]),
  ];
}

export async function showOverview(page) {
  page.title("Overview");
  const first = el("div");
  const states = el("div");
  const graphs = el("div", { class: "plots" });
  const refused = el("ol", { class: "records" });
  let samples = [];

  page.root.append(first, states, graphs, el("h2", null, "Refused last"), refused);
  const draw = (counts) => {
    states.replaceChildren(statesCard(counts));
    graphs.replaceChildren(...plots(samples));
  };
  page.on("numbers", (n) => {
    if (!samples.length || n.sample[0] > samples[samples.length - 1][0]) samples.push(n.sample);
    samples = samples.slice(-SAMPLES);
    draw(n.certificates);
  });
  const addRefused = (r) => {
    if (r.class !== "refused") return;
    refused.querySelector(".none")?.remove();
    refused.prepend(recordCard(r));
    while (refused.children.length > 8) refused.lastChild.remove();
  };
  const none = () => refused.children.length || refused.append(el("li", { class: "none muted" }, "Nothing was refused."));

  const [numbers, timeline, cas] = await Promise.all([view("overview"), view("timeline", { limit: 500 }), view("cas", { limit: 1 })]);
  if (page.gone) return;
  samples = numbers.samples;
  draw(numbers.certificates);
  timeline.records.forEach(addRefused);
  none();
  page.on("record", addRefused);
  if (!cas.cas.length)
    first.append(notice("info", "No CA is registered yet",
      `Devices whose certificates are signed by a registered CA come in at MQTT ${session.mqtt}.`,
      el("p", null, el("a", { class: "button primary", href: "#/cas/register" }, "Register a CA"))));
}
