// SPDX-License-Identifier: Apache-2.0
// Everything that happens, as it happens.
import { el, button, notice } from "./dom.js";
import { view } from "./api.js";
import { recordCard, merged } from "./record.js";

const KEPT = 300;
const CLASSES = [["", "all"], ["refused", "refusals"], ["accepted", "admissions"], ["change", "changes"], ["effect", "effects"], ["ended", "ends"]];

export async function showEvents(page) {
  const filter = el("input", { type: "search", placeholder: "Any text: client id, cause, certificate id, rule", "aria-label": "Filter events" });
  const kind = el("select", { "aria-label": "Kind" }, CLASSES.map(([value, text]) => el("option", { value }, text)));
  const list = el("ol", { class: "records live", "aria-label": "Events, newest first" });
  const said = el("p", { class: "muted", role: "status" });
  let all = [];
  let paused = false;
  let held = 0;

  const pause = button("Pause", async () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    pause.setAttribute("aria-pressed", paused);
    if (!paused) { held = 0; draw(); }
  });
  page.title("Events", el("div", { class: "actions" }, pause, button("Clear", async () => { all = []; draw(); })));
  page.root.append(el("div", { class: "filters" }, filter, kind), said, list);

  const fits = (r) => (!kind.value || r.class === kind.value) &&
    (!filter.value || JSON.stringify(r).toLowerCase().includes(filter.value.toLowerCase()));
  const count = () => { said.textContent = paused ? `paused, ${held} new` : `${list.children.length} of the newest ${all.length}`; };
  function draw() {
    list.replaceChildren(...all.filter(fits).reverse().map((r) => recordCard(r)));
    count();
  }
  filter.addEventListener("input", draw);
  kind.addEventListener("change", draw);
  page.on("record", (r) => {
    all.push(r);
    if (all.length > KEPT) all = all.slice(-KEPT);
    if (paused) held++;
    else if (fits(r)) {
      list.prepend(recordCard(r));
      while (list.children.length > KEPT) list.lastChild.remove();
    }
    count();
  });
  page.on("gap", (g) => list.prepend(el("li", null, notice("info", `${g.missing.toLocaleString("en")} records came too fast to be shown`, "They are in the timelines of their certificates."))));
  const { records } = await view("timeline", { limit: 100 });
  if (page.gone) return;
  all = merged(records, all);
  draw();
}
