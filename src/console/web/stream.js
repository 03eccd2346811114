// SPDX-License-Identifier: Apache-2.0
// The one stream of events of this page. A browser has six connections to a host for all its tabs, so a tab that
// nobody sees lets go of its own, unless its MQTT test client listens, and goes on later where it stopped.

import { toast } from "./dom.js";
import { loggedOut } from "./api.js";

const handlers = new Map();
let source = null;
let last = "";
let state = () => {};
export const stream = { id: "", pinned: false };

export function on(event, fn) {
  if (!handlers.has(event)) handlers.set(event, new Set());
  handlers.get(event).add(fn);
  return () => handlers.get(event).delete(fn);
}

function tell(event, data) {
  for (const fn of handlers.get(event) || []) fn(data);
}

function open() {
  if (source) return;
  source = new EventSource("/events" + (last ? "?after=" + last : ""));
  source.addEventListener("hello", (e) => {
    last = e.lastEventId;
    const { stream: id, cut } = JSON.parse(e.data);
    stream.id = id;
    state("live");
    if (cut) toast("This page took in too little of what happened and was cut off; it goes on from there.", "bad");
    tell("hello");
  });
  for (const name of ["record", "numbers", "mqtt", "gap"])
    source.addEventListener(name, (e) => {
      if (name === "record") last = e.lastEventId;
      tell(name, JSON.parse(e.data));
    });
  source.onerror = () => {
    state("connecting");
    if (source && source.readyState === EventSource.CLOSED) { // refused: not tried again by itself
      close();
      sayWhy();
      setTimeout(() => wanted && open(), 3000);
    }
  };
}

// An EventSource does not tell what it was answered.
async function sayWhy() {
  const end = new AbortController();
  const answer = await fetch("/events", { signal: end.signal }).catch(() => null);
  const why = answer && !answer.ok ? (await answer.json().catch(() => ({}))).message : "";
  end.abort();
  if (wanted && answer?.status === 401) loggedOut();
  else if (wanted && !source && why) state("refused", why);
}

function close() {
  if (source) source.close();
  source = null;
  stream.id = "";
}

let wanted = false;
export function start(onState) {
  state = onState;
  wanted = true;
  open();
}
export function stop() {
  wanted = false;
  last = "";
  close();
}

document.addEventListener("visibilitychange", () => {
  if (!wanted) return;
  if (document.visibilityState === "visible") open();
  else if (!stream.pinned) close();
});
