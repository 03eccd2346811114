// SPDX-License-Identifier: Apache-2.0
// Requests. /api/... are the operations that the aws CLI uses; the rest is the console's own.

export const session = { token: "login", region: "", account: "", mqtt: "", accessKey: "" };
const listeners = new Set();
export const onLoggedOut = (fn) => listeners.add(fn);
export const loggedOut = () => listeners.forEach((fn) => fn());

class Refused extends Error {
  constructor(status, name, message) {
    super(message);
    this.status = status;
    this.name = name;
  }
}

async function ask(method, path, body, headers) {
  let answer;
  try {
    answer = await fetch(path, { method, body, headers: { ...headers, "X-Console-Token": session.token } });
  } catch {
    throw new Refused(0, "Unreachable", "The cloud does not answer. Is it still running?");
  }
  const text = await answer.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { value = text; }
  if (answer.status === 401 && path !== "/session") loggedOut();
  if (!answer.ok)
    throw new Refused(answer.status, answer.headers.get("x-amzn-ErrorType") || "", (value && (value.message || value.Message)) || answer.statusText);
  return { value, headers: answer.headers };
}

const query = (params) => {
  const kept = Object.entries(params || {}).filter(([, v]) => v !== undefined && v !== null && v !== "");
  return kept.length ? "?" + kept.map(([k, v]) => `${k}=${encodeURIComponent(v)}`).join("&") : "";
};

export const view = async (name, params) => (await ask("GET", "/view/" + name + query(params))).value;
export const post = async (path, body) => (await ask("POST", path, JSON.stringify(body))).value;

// One operation of the API: its path's labels are encoded by the caller with `label`.
export const label = encodeURIComponent;
export async function call(method, path, { params, body, raw, headers } = {}) {
  const data = raw !== undefined ? raw : body !== undefined ? JSON.stringify(body) : undefined;
  return (await ask(method, "/api" + path + query(params), data, headers)).value;
}
export const callWithHeaders = (method, path, raw, headers) => ask(method, "/api" + path, raw, headers);

export async function resume() {
  Object.assign(session, (await ask("GET", "/session")).value);
}
export async function logIn(accessKey, secretKey) {
  session.token = "login";
  Object.assign(session, (await ask("POST", "/session", JSON.stringify({ accessKey, secretKey }))).value);
}
export async function logOut() {
  await ask("DELETE", "/session");
}

export const arn = (kind, name) => `arn:aws:iot:${session.region}:${session.account}:${kind}/${name}`;
export const functionArn = (name) => `arn:aws:lambda:${session.region}:${session.account}:function:${name}`;
