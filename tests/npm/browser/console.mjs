// SPDX-License-Identifier: Apache-2.0
// The console's tasks in a real browser, by clicking and typing; devices are mosquitto_pub. tests/scenario/console.sh runs it.
// usage: node console.mjs CONSOLE-URL WORK-FOLDER ROOT-CA MQTT-PORT [SCREENSHOT-FOLDER]
import { chromium } from "playwright-core";
import { execFileSync, spawnSync } from "node:child_process";

const [url, work, ca, port, pictures] = process.argv.slice(2);
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

async function logIn(page, secret = "test") {
  await page.getByLabel("Access key").fill("test");
  await page.getByLabel("Secret key").fill(secret);
  await page.getByRole("button", { name: "Log in" }).click();
}
const menu = (page, name) => page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
const heading = (page, name) => page.getByRole("heading", { level: 1, name }).waitFor();

// A device: 0 when the message was taken.
const publish = (device, client = device) => spawnSync("mosquitto_pub", ["--cafile", ca, "--cert", `${work}/${device}.pem`, "--key", `${work}/${device}.key`,
  "-h", "127.0.0.1", "-p", port, "-i", client, "-t", "foo/bar", "-m", "x", "-q", "1"], { timeout: DEADLINE }).status;

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

await claim("a CA is registered by the wizard: code, verification certificate pasted, CA file dropped or chosen", async () => {
  await page.getByRole("link", { name: "Register a CA" }).click();
  const code = (await page.locator("#code").textContent()).trim();
  must(/^[0-9a-f]{64}$/.test(code), "no registration code: " + code);
  await shot(page, "register-ca");
  execFileSync("sh", ["-c", `cd "$1" && openssl ecparam -genkey -name prime256v1 -out v.key && openssl req -new -key v.key -subj "/CN=$2" -out v.csr &&
    openssl x509 -req -in v.csr -CA factory.crt -CAkey factory.key -CAcreateserial -out v.crt -days 30 -sha256`, "sh", work, code], { stdio: "ignore" });
  const fs = await import("node:fs");
  await page.getByRole("textbox", { name: "verification certificate" }).fill(fs.readFileSync(`${work}/factory.crt`, "utf8"));
  await page.getByLabel("Choose the file of the CA certificate").setInputFiles(`${work}/factory.crt`);
  await page.getByRole("button", { name: "Register CA certificate" }).click();
  await page.getByRole("alert").filter({ hasText: "The CA was not registered" }).waitFor(); // the wrong certificate
  await page.getByRole("textbox", { name: "verification certificate" }).fill(fs.readFileSync(`${work}/v.crt`, "utf8"));
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
  await page.getByRole("combobox", { name: "Policy to attach" }).selectOption("own-topics");
  await page.getByRole("button", { name: "Attach" }).click();
  await page.locator(".policies").getByRole("link", { name: "own-topics" }).waitFor();
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
await claim("a filter that is none is refused with words", async () => {
  await page.getByLabel("Topic filter").fill("a/#/b");
  await page.getByRole("button", { name: "Subscribe" }).click();
  await page.getByText("This is no topic filter").waitFor();
});

await claim("everything can be done with the keyboard: log in, go to a page, search, open", async () => {
  const third = await open();
  const key = (k) => third.keyboard.press(k);
  await third.getByLabel("Access key").waitFor();
  await third.keyboard.type("test");
  await key("Tab");
  await third.keyboard.type("test");
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
  await third.keyboard.type("sensor");
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
await claim("the overview has counts and plots", async () => {
  await menu(page, "Overview");
  await page.getByRole("heading", { name: "2 certificates" }).waitFor();
  await page.locator(".legend").getByRole("link", { name: "active 1" }).first().waitFor();
  await page.locator(".legend").getByRole("link", { name: "revoked 1" }).waitFor();
  must((await page.locator(".plot").count()) === 3, "plots are missing");
  await page.locator(".record.refused").first().waitFor();
  await shot(page, "overview");
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
