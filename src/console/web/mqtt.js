// SPDX-License-Identifier: Apache-2.0
// The MQTT test client: subscribes and publishes inside the cloud, where no policy is asked.
import { el, button, field, toast, when, notice } from "./dom.js";
import { call, post, label } from "./api.js";
import { stream } from "./stream.js";

const KEPT = 200;

function messageCard(m) {
  let text = m.payload;
  if (m.encoding === "utf-8") {
    try { text = JSON.stringify(JSON.parse(m.payload), null, 2); } catch { /* as it is */ }
  }
  return el("li", { class: "record effect message" },
    el("div", { class: "recordhead" }, when(m.timeMs), el("code", { class: "topic" }, m.topic), el("span", { class: "muted" }, `QoS ${m.qos}${m.retain ? ", retained" : ""}, ${m.bytes.toLocaleString("en")} bytes`)),
    el("pre", null, m.encoding === "base64" ? "base64: " + text : text));
}

export async function showMqtt(page) {
  const filters = new Set();
  const subs = el("ul", { class: "tags" });
  const list = el("ol", { class: "records live", "aria-label": "Messages, newest first" });
  const filter = el("input", { value: "#", required: true, spellcheck: "false" });
  const topic = el("input", { value: "hello/world", required: true, spellcheck: "false" });
  const payload = el("textarea", { rows: 4, spellcheck: "false", value: '{"message": "hello"}' });
  const qos = el("select", null, el("option", { value: "0" }, "0"), el("option", { value: "1", selected: true }, "1"));
  const retain = el("input", { type: "checkbox" });

  page.title("MQTT test client", el("div", { class: "actions" }, button("Clear", async () => list.replaceChildren())));
  const ask = (what) => post("/mqtt", { stream: stream.id, ...what });
  function draw() {
    stream.pinned = filters.size > 0; // listens also while the tab is not seen
    subs.replaceChildren(...[...filters].map((f) => el("li", { class: "tag" }, el("code", null, f), " ",
      button("✕", async () => { filters.delete(f); draw(); await ask({ unsubscribe: f }); }, "small quiet"))));
  }
  async function subscribe(e) {
    e.preventDefault();
    try {
      await ask({ subscribe: filter.value });
      filters.add(filter.value);
      draw();
    } catch (error) { toast(error.message, "bad"); }
  }
  async function publish(e) {
    e.preventDefault();
    try {
      await call("POST", "/topics/" + label(topic.value), { params: { qos: qos.value, retain: retain.checked }, raw: payload.value });
      toast("Published");
    } catch (error) { toast(error.message, "bad"); }
  }
  page.root.append(el("div", { class: "two" },
    el("section", { class: "card" }, el("h2", null, "Subscribe"), el("form", { on: { submit: subscribe } },
      field("Topic filter", filter, "+ is one level, # all that follow; # alone leaves out topics that begin with $"), el("button", { type: "submit", class: "primary" }, "Subscribe")), subs),
    el("section", { class: "card" }, el("h2", null, "Publish"), el("form", { on: { submit: publish } }, field("Topic", topic), field("Payload", payload),
      el("div", { class: "actions" }, field("QoS", qos), el("label", { class: "check" }, retain, "retain"), el("button", { type: "submit", class: "primary" }, "Publish"))))),
  el("h2", null, "Messages"), list);

  page.on("mqtt", (m) => {
    if (m.lost) list.prepend(el("li", null, notice("info", `${m.lost.toLocaleString("en")} messages came too fast to be shown`)));
    list.prepend(messageCard(m));
    while (list.children.length > KEPT) list.lastChild.remove();
  });
  page.on("hello", () => filters.forEach((f) => ask({ subscribe: f }).catch((e) => toast(e.message, "bad"))));
  page.onLeave(() => {
    stream.pinned = false;
    filters.forEach((f) => ask({ unsubscribe: f }).catch(() => {}));
  });
}
