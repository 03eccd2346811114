// SPDX-License-Identifier: Apache-2.0
// Runtime client for Node.js functions: asks the Runtime API for events, calls the handler, reports.
//
// Node's own modules only. It is started with the package's folder as working directory and the variables of SPEC
// aws-iot 5.5; _HANDLER is file.function, the file may lie in folders and end in .js, .cjs or .mjs. A handler is
// (event, context) => result or promise, or the older (event, context, callback).
//
// The AWS SDK for JavaScript v3 obeys AWS_ENDPOINT_URL by itself. When a function requires v2 ("aws-sdk"), its
// configuration is pointed there as it is loaded; an endpoint that the function gives itself stays.
import fs from "node:fs";
import http from "node:http";
import module from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const RESPONSE_MAX = 6 * 1024 * 1024;
const env = process.env;
const [host, port] = env.AWS_LAMBDA_RUNTIME_API.split(/:(?=\d+$)/);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

// ---- the Runtime API ----

function call(method, where, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { host: host.replace(/^\[|\]$/g, ""), port, agent, method, path: `/2018-06-01/runtime${where}`, headers },
      (answer) => {
        const parts = [];
        answer.on("data", (part) => parts.push(part));
        answer.on("error", reject);
        answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) }));
      });
    request.on("error", reject);
    request.end(body);
  });
}

function errorObject(error, requestId) {
  const real = error instanceof Error;
  const object = {
    errorType: real ? error.name : "Error",
    errorMessage: real ? error.message : typeof error === "string" ? error : JSON.stringify(error) ?? String(error),
    stackTrace: real && error.stack ? error.stack.split("\n") : [],
  };
  if (requestId) object.requestId = requestId;
  console.error(`[ERROR] ${object.errorType}: ${object.errorMessage}${object.stackTrace.length > 1 ? `\n${object.stackTrace.slice(1).join("\n")}` : ""}`);
  return object;
}

async function report(where, object) {
  await call("POST", where, JSON.stringify(object),
    { "Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": object.errorType });
}

function named(name, message) {
  const error = new Error(message);
  error.name = name;
  error.stack = undefined;
  return error;
}

// ---- loading ----

function pointSdkV2() {
  const load = module._load;
  const seen = new WeakSet();
  module._load = function (request, ...rest) {
    const loaded = load.call(this, request, ...rest);
    if (request === "aws-sdk" && env.AWS_ENDPOINT_URL && loaded?.config?.update && !seen.has(loaded)) {
      seen.add(loaded);
      loaded.config.update({ endpoint: env.AWS_ENDPOINT_URL });
    }
    return loaded;
  };
}

async function loadHandler(name) {
  const dot = name.lastIndexOf(".");
  const base = path.join(env.LAMBDA_TASK_ROOT, name.slice(0, dot));
  const file = [".js", ".mjs", ".cjs"].map((end) => base + end).find((f) => fs.existsSync(f));
  if (!file) throw named("Runtime.ImportModuleError", `Cannot find module '${name.slice(0, dot)}'`);
  let loaded;
  try {
    loaded = await import(pathToFileURL(file));
  } catch (error) {
    if (error instanceof SyntaxError) error.name = "Runtime.UserCodeSyntaxError";
    else if (["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"].includes(error?.code)) error.name = "Runtime.ImportModuleError";
    throw error;
  }
  const member = name.slice(dot + 1);
  const handler = loaded[member] ?? loaded.default?.[member];
  if (typeof handler !== "function") throw named("Runtime.HandlerNotFound", `${name} is undefined or not exported`);
  return handler;
}

// ---- events ----

function contextOf(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  return {
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    callbackWaitsForEmptyEventLoop: true,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
}

// A promise of what the handler returns, or gives to its callback.
function run(handler, event, context) {
  return new Promise((resolve, reject) => {
    const callback = (error, result) => (error === undefined || error === null ? resolve(result) : reject(error));
    context.done = callback;
    context.succeed = resolve;
    context.fail = reject;
    const result = handler(event, context, callback);
    if (typeof result?.then === "function") result.then(resolve, reject);
    else if (handler.length < 3 && result !== undefined) resolve(result);
    else if (handler.length < 3 && !(result instanceof Promise)) setImmediate(() => resolve(result));
  });
}

async function serveOne(handler) {
  const next = await call("GET", "/invocation/next");
  if (next.status !== 200) throw new Error(`the Runtime API refused to give an event: ${next.status}`);
  const context = contextOf(next.headers);
  const where = `/invocation/${context.awsRequestId}`;
  env._X_AMZN_TRACE_ID = next.headers["lambda-runtime-trace-id"] ?? "";
  current = where;
  let result;
  try {
    const text = next.body.toString();
    result = JSON.stringify(await run(handler, text.trim() ? JSON.parse(text) : {}, context)) ?? "null";
    if (Buffer.byteLength(result) > RESPONSE_MAX)
      throw named("Function.ResponseSizeTooLarge", `Response payload size exceeded maximum allowed payload size (${RESPONSE_MAX} bytes).`);
  } catch (error) {
    await report(`${where}/error`, errorObject(error, context.awsRequestId));
    current = undefined;
    return;
  }
  await call("POST", `${where}/response`, result, { "Content-Type": "application/json" });
  current = undefined;
}

let current; // the invocation under way

async function crash(kind, error) {
  const object = errorObject(error instanceof Error ? error : named(kind, String(error)));
  object.errorType = kind;
  try {
    await report(current ? `${current}/error` : "/init/error", object);
  } finally {
    process.exit(128);
  }
}

process.on("uncaughtException", (error) => crash("Runtime.UncaughtException", error));
process.on("unhandledRejection", (error) => crash("Runtime.UnhandledPromiseRejection", error));
pointSdkV2();
let handler;
try {
  handler = await loadHandler(env._HANDLER);
} catch (error) {
  await report("/init/error", errorObject(error));
  process.exit(1);
}
for (;;) await serveOne(handler);
