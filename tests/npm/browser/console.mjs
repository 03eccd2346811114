// SPDX-License-Identifier: Apache-2.0
// The console's tasks in a real browser, by clicking and typing; devices are mosquitto_pub. tests/scenario/console.sh runs it.
// usage: node console.mjs CONSOLE-URL WORK-FOLDER ROOT-CA MQTT-PORT KEYS-OF-ANOTHER-ACCOUNT [SCREENSHOT-FOLDER]
import { chromium } from "playwright-core";
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

const [url, work, ca, port, other, pictures] = process.argv.slice(2);
const DEADLINE = 40000; // only a hang takes so long; with sanitizers on a busy machine nearly so
const HOSTILE = "<img src=x onerror=alert(1)>";

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
const problems = [];

async function open(options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  context.setDefaultTimeout(DEADLINE);
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: url });
  const page = await context.newPage();
  page.on("pageerror", (e) => problems.push("script: " + e.message));
  page.on("dialog", (d) => { problems.push("dialog: " + d.message()); d.dismiss(); });
  page.on("console", (m) => { if (m.type() === "error" && !/status of 4\d\d/.test(m.text())) problems.push("console: " + m.text()); });
  await page.goto(url);
  return page;
}

async function claim(text, fn) {
  try {
    await fn();
    console.log("ok - " + text);
  } catch (e) {
    console.log("not ok - " + text + ": " + String(e.message).split("\n").slice(0, 6).join(" | ").replaceAll(/\u001b\[\d+m/g, ""));
  }
}

const must = (truth, why) => { if (!truth) throw new Error(why); };
async function shot(page, name) {
  if (!pictures) return;
  await page.evaluate(() => document.getElementById("toasts").replaceChildren());
  await page.screenshot({ path: `${pictures}/${name}.jpg`, type: "jpeg", quality: 72 });
}

const [access, secret] = [process.env.AWS_ACCESS_KEY_ID, process.env.AWS_SECRET_ACCESS_KEY];
async function logIn(page, secretKey = secret, accessKey = access) {
  await page.getByLabel("Access key").fill(accessKey);
  await page.getByLabel("Secret key").fill(secretKey);
  await page.getByRole("button", { name: "Log in" }).click();
}
const menu = (page, name) => page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
const heading = (page, name) => page.getByRole("heading", { level: 1, name }).waitFor();

// A device: 0 when the message was taken.
const publish = (device, client = device, message = ["-m", "x"]) => spawnSync("mosquitto_pub", ["--cafile", ca, "--cert", `${work}/${device}.pem`, "--key", `${work}/${device}.key`,
  "-h", "127.0.0.1", "-p", port, "-i", client, "-t", "foo/bar", ...message, "-q", "1"], { timeout: DEADLINE }).status;

const page = await open();

await claim("wrong keys are refused with a cure", async () => {
  await logIn(page, "wrong");
  await page.getByRole("alert").filter({ hasText: "These are not the keys of this cloud" }).waitFor();
});
await claim("the right keys open the overview, which is live", async () => {
  await logIn(page);
  await heading(page, "Overview");
  await page.locator("#live[data-state=live]").waitFor();
});

const read = (file) => readFileSync(`${work}/${file}`, "utf8");
// A file from the desktop, let fall on the box of that name.
async function drop(page, name, file) {
  const data = await page.evaluateHandle(([text, as]) => {
    const all = new DataTransfer();
    all.items.add(new File([text], as));
    return all;
  }, [read(file), file]);
  const box = page.locator(".drop").filter({ has: page.getByRole("textbox", { name }) });
  for (const event of ["dragenter", "dragover", "drop"]) await box.dispatchEvent(event, { dataTransfer: data });
  await page.waitForFunction(([n, text]) => document.querySelector(`textarea[aria-label="${n}"]`).value === text, [name, read(file)]);
}
await claim("a CA is registered by the wizard: code, files chosen, pasted and dropped, what is wrong with them said", async () => {
  await page.getByRole("link", { name: "Register a CA" }).click();
  const code = (await page.locator("#code").textContent()).trim();
  must(/^[0-9a-f]{64}$/.test(code), "no registration code: " + code);
  await shot(page, "register-ca");
  execFileSync("sh", ["-c", `cd "$1" && openssl ecparam -genkey -name prime256v1 -out v.key && openssl req -new -key v.key -subj "/CN=$2" -out v.csr &&
    openssl x509 -req -in v.csr -CA factory.crt -CAkey factory.key -CAcreateserial -out v.crt -days 30 -sha256`, "sh", work, code], { stdio: "ignore" });
  await page.getByRole("textbox", { name: "verification certificate" }).fill(read("factory.crt"));
  await page.getByLabel("Choose the file of the CA certificate").setInputFiles(`${work}/hostile.csr`);
  await page.getByRole("button", { name: "Register CA certificate" }).click();
  await page.getByRole("alert").filter({ hasText: "The CA was not registered" }).waitFor(); // no certificate
  await drop(page, "CA certificate", "factory.crt");
  await page.getByRole("button", { name: "Register CA certificate" }).click();
  await page.getByRole("alert").filter({ hasText: "The CA was not registered" }).waitFor(); // the wrong certificate
  await drop(page, "verification certificate", "v.crt");
  await page.getByRole("button", { name: "Register CA certificate" }).click();
  await heading(page, "Demo CA factory");
});
await claim("it is switched off and on", async () => {
  await page.getByRole("button", { name: "Disable auto-registration" }).click();
  await page.getByRole("button", { name: "Enable auto-registration" }).click();
  await page.getByRole("button", { name: "Deactivate" }).click();
  await page.getByRole("button", { name: "Activate", exact: true }).click();
  await page.getByRole("button", { name: "Deactivate" }).waitFor();
});
await claim("the list of CAs shows it", async () => {
  await menu(page, "CAs");
  await page.getByRole("link", { name: "Demo CA factory" }).waitFor();
});

await claim("a function is made from a package", async () => {
  await menu(page, "Functions");
  await page.getByText("Create a function").click();
  await page.getByLabel("Name").fill("jitr");
  await page.getByLabel("Package").setInputFiles(`${work}/jitr.zip`);
  await page.getByRole("button", { name: "Create function" }).click();
  await heading(page, "jitr");
});
await claim("a rule is made, and may invoke the function after one click", async () => {
  await menu(page, "Rules");
  await page.getByText("Create a rule").click();
  await page.getByLabel("Name").fill("onboard");
  await page.getByRole("button", { name: "Create rule" }).click();
  await heading(page, "onboard");
  await page.getByRole("button", { name: "Allow it to invoke jitr" }).click();
  await page.getByText("may be invoked by this rule now").waitFor();
});

const second = await open({ colorScheme: "dark" });
await claim("a second browser has a session of its own and sees events as they come", async () => {
  await logIn(second);
  await menu(second, "Events");
  await heading(second, "Events");
  await second.locator("#live[data-state=live]").waitFor();
});
await claim("the whole registration is watched live as a sequence diagram, in both browsers", async () => {
  must(publish("sensor-7") !== 0, "a newcomer was let in");
  await second.locator(".record[data-cause='certificate.registered']").first().waitFor();
  await menu(page, "Certificates");
  await page.getByRole("link", { name: "sensor-7" }).click();
  await heading(page, "sensor-7");
  await page.locator(".sequence").waitFor();
  await page.locator(".pill[data-status=ACTIVE]").first().waitFor();
  await page.locator(".step text", { hasText: "invoke jitr" }).first().waitFor();
  await page.locator(".step text", { hasText: "ended well" }).first().waitFor();
  must(publish("sensor-7") === 0, "the activated device was refused");
  await page.locator(".step text", { hasText: "CONNACK: admitted" }).first().waitFor();
  await second.locator(".record[data-cause='connect.admitted']").first().waitFor();
  await shot(page, "certificate");
  await shot(second, "events-dark");
});
await claim("a refusal shows cause, evidence and cure", async () => {
  await page.getByRole("button", { name: "Deactivate" }).click();
  await page.locator(".head .pill[data-status=INACTIVE]").waitFor();
  must(publish("sensor-7") !== 0, "an inactive device was let in");
  const record = second.locator(".record[data-cause='connect.inactive']").first();
  await record.getByText("Refused: the certificate is INACTIVE.").waitFor();
  await record.getByText("peer=127.0.0.1").waitFor();
  await record.getByText("--new-status ACTIVE").waitFor();
  await page.getByRole("button", { name: "Activate", exact: true }).click();
  await page.locator(".head .pill[data-status=ACTIVE]").waitFor();
});

await claim("names that are markup stay text everywhere", async () => {
  publish("hostile", HOSTILE);
  await second.locator(".record").getByText(HOSTILE).first().waitFor();
  await menu(page, "Certificates");
  await page.getByRole("searchbox").fill("onerror");
  await page.getByRole("link", { name: HOSTILE }).click();
  await heading(page, HOSTILE);
  await page.locator(".step text", { hasText: "onerror" }).first().waitFor();
  must((await page.locator("img:not([src='/favicon.svg'])").count()) === 0, "markup became an element");
});
await claim("a certificate is revoked after a question", async () => {
  await page.getByRole("button", { name: "Revoke" }).first().click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await page.locator(".head .pill[data-status=REVOKED]").waitFor();
});
await claim("the list is filtered by state and searched by the beginning of an id", async () => {
  await menu(page, "Certificates");
  await page.getByRole("combobox", { name: "State" }).selectOption("REVOKED");
  await page.getByText("1 shown").waitFor();
  await page.getByRole("combobox", { name: "State" }).selectOption("");
  const id = execFileSync("sh", ["-c", `openssl x509 -in "$1" -outform DER | sha256sum | cut -c1-10`, "sh", `${work}/sensor-7.crt`]).toString().trim();
  await page.getByRole("searchbox").fill(id);
  await page.getByText("1 shown").waitFor();
  await page.getByRole("link", { name: "sensor-7" }).waitFor();
  await shot(page, "certificates");
});

await claim("a policy is written, tested with the deciding statement named, saved and attached", async () => {
  await menu(page, "Policies");
  await page.getByText("Create a policy").click(); // open by itself only while there is none
  await page.getByLabel("Name").fill("own-topics");
  await page.getByRole("button", { name: "Create policy" }).click();
  await heading(page, "own-topics");
  const box = page.getByRole("textbox", { name: "Policy document" });
  await page.waitForFunction(() => document.querySelector(".editor").value);
  const document = JSON.parse(await box.inputValue());
  document.Statement.push({ Effect: "Deny", Action: "iot:Publish", Resource: "*" });
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await page.getByText("Statement 1 allows it.").waitFor();
  await box.fill(JSON.stringify(document, null, 2));
  await page.getByLabel("Action").selectOption("iot:Publish");
  await page.getByLabel("Resource").fill("d1/x");
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await page.getByText("Statement 4 denies it, which no Allow overrides.").waitFor();
  await shot(page, "policy");
  await page.getByRole("button", { name: "Save as new default version" }).click();
  await page.getByText("2 (default)").waitFor();
  await box.fill("{");
  await page.getByRole("button", { name: "Save as new default version" }).click();
  await page.getByText("the policy document is no JSON").waitFor();
  await menu(page, "Certificates");
  await page.getByRole("link", { name: "sensor-7" }).click();
  await page.getByRole("combobox", { name: "Policy to attach" }).fill("own-topics");
  await page.getByRole("button", { name: "Attach" }).click();
  const attached = page.locator(".policies .tag").filter({ hasText: "own-topics" });
  await attached.getByRole("button").click(); // detached
  await attached.waitFor({ state: "detached" });
});
await claim("events are filtered, and held while one reads", async () => {
  await second.getByRole("searchbox", { name: "Filter events" }).fill("policy.attached");
  await second.locator(".record").first().waitFor();
  must((await second.locator(".record:not([data-cause='policy.attached'])").count()) === 0, "others are shown, too");
  await second.getByRole("searchbox", { name: "Filter events" }).fill("");
  await second.getByRole("combobox", { name: "Kind" }).selectOption("refused");
  await second.locator(".record.refused").first().waitFor();
  must((await second.locator(".record:not(.refused)").count()) === 0, "others are shown, too");
  await second.getByRole("combobox", { name: "Kind" }).selectOption("");
  await second.getByRole("button", { name: "Pause" }).click();
  const top = await second.locator(".record").first().textContent();
  must(publish("sensor-7") === 0, "the device was refused");
  await second.getByText(/^paused, [1-9]/).waitFor();
  must((await second.locator(".record").first().textContent()) === top, "the list moves on");
  await second.getByRole("button", { name: "Go on" }).click();
  await second.locator(".record[data-cause^='disconnect']").first().waitFor();
});
await claim("a rule is switched off, and a newcomer then waits for a person, who activates it", async () => {
  await menu(page, "Rules");
  await page.getByRole("link", { name: "onboard" }).click();
  await page.getByRole("button", { name: "Disable" }).click();
  await page.getByRole("button", { name: "Enable" }).waitFor();
  must(publish("sensor-8") !== 0, "a newcomer was let in");
  await menu(page, "Certificates");
  await page.getByRole("combobox", { name: "State" }).selectOption("PENDING_ACTIVATION");
  await page.getByRole("link", { name: "sensor-8" }).click();
  await page.locator(".head .pill[data-status=PENDING_ACTIVATION]").waitFor();
  await page.getByRole("combobox", { name: "Policy to attach" }).fill("jitr-device");
  await page.getByRole("button", { name: "Attach" }).click();
  await page.locator(".policies").getByRole("link", { name: "jitr-device" }).waitFor();
  await page.getByRole("button", { name: "Activate", exact: true }).click();
  await page.locator(".head .pill[data-status=ACTIVE]").waitFor();
  must(publish("sensor-8") === 0, "the activated device was refused");
  await page.locator(".step text", { hasText: "CONNACK: admitted" }).first().waitFor();
});
await claim("the rule's page has its last matches, the function's page its log and an answer", async () => {
  await menu(page, "Rules");
  await page.getByRole("link", { name: "onboard" }).click();
  await page.locator(".record[data-cause='rule.matched']").first().waitFor();
  await menu(page, "Functions");
  await page.getByRole("link", { name: "jitr" }).click();
  await page.locator(".log", { hasText: "REPORT RequestId" }).waitFor();
  await page.getByRole("button", { name: "Invoke" }).click();
  await page.getByText("The function failed").waitFor(); // an event that is none
});
await claim("the MQTT test client gets what it publishes, and what is markup stays text", async () => {
  await menu(page, "MQTT test client");
  await page.getByLabel("Topic filter").fill("hello/#");
  await page.getByRole("button", { name: "Subscribe" }).click();
  await page.locator(".tags .tag", { hasText: "hello/#" }).waitFor();
  for (let tries = 0; tries < 20 && (await page.locator(".message").count()) === 0; tries++) { // subscribed when the broker has it
    await page.getByLabel("Payload").fill("<script>alert(2)</script>");
    await page.getByRole("button", { name: "Publish" }).click();
    await page.locator(".message").first().waitFor({ timeout: 2000 }).catch(() => {});
  }
  await page.locator(".message", { hasText: "<script>alert(2)</script>" }).first().waitFor();
});
await claim("it shows what devices send, bytes that are no text too, and stops when it is told", async () => {
  await page.getByLabel("Topic filter").fill("foo/+");
  await page.getByRole("button", { name: "Subscribe" }).click();
  const tag = page.locator(".tags .tag", { hasText: "foo/+" });
  await tag.waitFor();
  execFileSync("sh", ["-c", 'printf "\\377\\000" >"$1/bytes"', "sh", work]);
  for (let tries = 0; tries < 20 && (await page.locator(".message", { hasText: "base64: /wA=" }).count()) === 0; tries++) {
    must(publish("sensor-7", "sensor-7", ["-f", `${work}/bytes`]) === 0, "the device was refused");
    await page.locator(".message", { hasText: "base64: /wA=" }).first().waitFor({ timeout: 2000 }).catch(() => {});
  }
  await shot(page, "mqtt");
  await tag.getByRole("button").click();
  await tag.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Clear" }).click();
  await page.getByLabel("Payload").fill("the last one");
  must(publish("sensor-7") === 0, "the device was refused");
  await page.getByRole("button", { name: "Publish" }).click(); // hello/#, which came later, is there
  await page.locator(".message", { hasText: "the last one" }).waitFor();
  must((await page.locator(".message", { hasText: "foo/bar" }).count()) === 0, "it still listens");
});
await claim("a filter that is none is refused with words", async () => {
  await page.getByLabel("Topic filter").fill("a/#/b");
  await page.getByRole("button", { name: "Subscribe" }).click();
  await page.getByText("This is no topic filter").waitFor();
});

await claim("everything can be done with the keyboard: log in, go to a page, search, open", async () => {
  const third = await open();
  const key = (k) => third.keyboard.press(k);
  await third.getByLabel("Access key").waitFor();
  await third.keyboard.type(access);
  await key("Tab");
  await third.keyboard.type(secret);
  await key("Enter");
  await heading(third, "Overview");
  for (let i = 0; i < 30; i++) {
    await key("Tab");
    if ((await third.evaluate(() => document.activeElement.textContent)) === "Certificates") break;
  }
  await key("Enter");
  await heading(third, "Certificates");
  await third.getByRole("link", { name: "sensor-7" }).waitFor();
  await key("/");
  await third.keyboard.type("sensor-7");
  await third.getByText("1 shown").waitFor();
  for (let i = 0; i < 10; i++) {
    await key("Tab");
    if ((await third.evaluate(() => document.activeElement.textContent)) === "sensor-7") break;
  }
  must((await third.evaluate(() => getComputedStyle(document.activeElement).outlineStyle)) !== "none", "the focus cannot be seen");
  await key("Enter");
  await heading(third, "sensor-7");
  await third.context().close();
});
await claim("on a phone nothing is wider than the screen", async () => {
  const phone = await open({ viewport: { width: 390, height: 844 }, deviceScaleFactor: 1, isMobile: true, hasTouch: true, colorScheme: "dark" });
  await logIn(phone);
  await heading(phone, "Overview");
  await phone.locator(".plot").first().waitFor();
  await shot(phone, "overview-phone-dark");
  for (const name of ["Certificates", "CAs", "Policies", "Rules", "Functions", "Events", "MQTT test client"]) {
    await menu(phone, name);
    await heading(phone, name);
    const wide = await phone.evaluate(() => document.documentElement.scrollWidth);
    must(wide <= 390, `${name} is ${wide} wide`);
  }
  await menu(phone, "Certificates");
  await phone.getByRole("link", { name: "sensor-7" }).click();
  await phone.locator(".sequence").waitFor();
  must((await phone.evaluate(() => document.documentElement.scrollWidth)) <= 390, "the diagram is too wide");
  await shot(phone, "certificate-phone-dark");
  await phone.context().close();
});
await claim("dark and light differ, and a choice stays", async () => {
  const shade = (p) => p.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await shade(second);
  must(dark !== (await shade(page)), "both are " + dark);
  await second.getByRole("button", { name: "Theme: system" }).click();
  await second.reload();
  await second.getByRole("button", { name: "Theme: light" }).waitFor();
  must((await shade(second)) === (await shade(page)), "the choice is forgotten");
});
await claim("keys of another account show that account, and nothing of this one", async () => {
  const theirs = await open();
  const [otherAccess, otherSecret] = other.split(":");
  await logIn(theirs, otherSecret, otherAccess);
  await theirs.getByText("account 111111111111").waitFor();
  await theirs.getByText("No CA is registered yet").waitFor();
  await theirs.getByRole("heading", { name: "0 certificates" }).waitFor();
  await menu(theirs, "Certificates");
  await theirs.getByText("there is none").waitFor();
  await menu(theirs, "Policies");
  await theirs.getByText("There is no policy yet.").waitFor();
  await menu(theirs, "Events");
  await theirs.getByText("0 of the newest 0").waitFor();
  await theirs.goto(page.url().replace(/#.*/, "#/functions/jitr"));
  await theirs.getByRole("alert").filter({ hasText: "This page could not be shown" }).waitFor();
  await theirs.context().close();
});
await claim("the overview has counts and plots", async () => {
  await menu(page, "Overview");
  await page.getByRole("heading", { name: "3 certificates" }).waitFor();
  await page.locator(".legend").getByRole("link", { name: "active 2" }).first().waitFor();
  await page.locator(".legend").getByRole("link", { name: "revoked 1" }).waitFor();
  must((await page.locator(".plot polyline").count()) === 5, "plots are missing"); // open; admitted, refused; in, out
  await page.getByText(/highest in ten minutes: [1-9]|highest in ten minutes: 0\.[1-9]/).first().waitFor();
  await page.locator(".record.refused").first().waitFor();
  await shot(page, "overview");
});
await claim("long lists come page by page", async () => {
  execFileSync("sh", ["-c", `cd "$1" && for i in $(seq 30); do openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null \
    -subj "/CN=many-$i" -days 9 -out many-$i.crt 2>/dev/null; done`, "sh", work]);
  await page.evaluate(async (pems) => { // by its own module, as the token has to go with it
    const { call } = await import("/api.js");
    for (const certificatePem of pems) await call("POST", "/certificate/register-no-ca", { body: { certificatePem, status: "INACTIVE" } });
    for (let i = 0; i < 55; i++) await call("POST", "/policies/many-" + i, { body: { policyDocument: '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}' } });
  }, Array.from({ length: 30 }, (_, i) => read(`many-${i + 1}.crt`)));
  await menu(page, "Certificates");
  await page.getByText("25 shown").waitFor();
  await page.getByRole("button", { name: "Show more" }).click();
  await page.getByText("33 shown, that is all").waitFor();
  await page.getByRole("combobox", { name: "State" }).selectOption("ACTIVE");
  await page.getByText("2 shown").waitFor();
  await page.getByRole("searchbox").fill("MANY-3");
  await page.getByRole("combobox", { name: "State" }).selectOption("INACTIVE");
  await page.getByText("2 shown").waitFor(); // many-3 and many-30
  await menu(page, "Policies");
  await page.locator("tbody tr").nth(49).waitFor();
  await page.getByRole("button", { name: "Show more" }).click();
  await page.locator("tbody tr").nth(56).waitFor();
});
await claim("a search of very many certificates says how far it is, waits to be told to go on, and can be stopped", async () => {
  const SLICE = 250000, TOTAL = 5000000; // so many are not registered here: the answers are made up
  let asked = 0, held = false;
  await page.route("**/view/certificates?*", async (route) => {
    const marker = Number(new URL(route.request().url()).searchParams.get("marker"));
    asked++;
    if (held) return; // no answer until the page leaves
    await route.fulfill({ json: { certificates: [], examined: SLICE, total: TOTAL, nextMarker: marker + SLICE < TOTAL ? String(marker + SLICE) : "" } });
  });
  await menu(page, "Certificates");
  await page.getByRole("searchbox").fill("nobody");
  await page.getByText("0 shown, 1,000,000 of 5,000,000 looked at, newest first").waitFor();
  const before = asked;
  await page.getByRole("button", { name: "Search on" }).click();
  await page.getByText("0 shown, 2,000,000 of 5,000,000 looked at").waitFor();
  must(asked === before + 4, "it did not wait to be told");
  held = true;
  await page.getByRole("button", { name: "Search on" }).click();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("button", { name: "Search on" }).waitFor();
  await page.unroute("**/view/certificates?*");
});
await claim("a rule and a function are deleted after a question, which may be answered with no", async () => {
  for (const [list, name] of [["Rules", "onboard"], ["Functions", "jitr"]]) {
    await menu(page, list);
    await page.getByRole("link", { name }).click();
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    await heading(page, name);
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await heading(page, list);
    await page.getByText(/There is no (rule|function) yet/).waitFor();
  }
});
await claim("a session that has ended elsewhere says so and asks for the keys", async () => {
  const tab = await second.context().newPage();
  await tab.goto(url);
  await heading(tab, "Overview");
  await tab.getByRole("button", { name: "Log out" }).click();
  await tab.getByRole("heading", { name: "Birthmark console" }).waitFor();
  await tab.close();
  await second.getByText("The session has ended; log in again.").waitFor();
  await logIn(second);
  await second.locator("#live[data-state=live]").waitFor();
  await menu(second, "Events");
  await heading(second, "Events");
});
await claim("logging out ends the session here and only here", async () => {
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("heading", { name: "Birthmark console" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "Birthmark console" }).waitFor();
  await second.reload();
  await heading(second, "Events");
});
await claim("no script failed and none of the names ran as one", async () => must(!problems.length, problems.join(" | ")));
await browser.close();
