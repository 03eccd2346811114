#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runtime client for Python functions: asks the Runtime API for events, calls the handler, reports.

Standard library only. It is started with the package's folder as working directory and the variables of
SPEC aws-iot 5.5; _HANDLER is module.function, the module may lie in folders (pkg/module or pkg.module).

boto3 is never imported from here. A function that imports it gets its clients pointed at AWS_ENDPOINT_URL even
when its botocore is too old to read that variable (before 1.31; Debian 12 has 1.29): a hook waits for the
import of botocore.session and wraps create_client. An endpoint_url that the function gives itself stays.
"""
import functools
import http.client
import importlib
import importlib.abc
import importlib.machinery
import json
import logging
import os
import sys
import time
import traceback

API = "/2018-06-01/runtime"
RESPONSE_MAX = 6 * 1024 * 1024


# ---- boto3 finds the local cloud ----

def endpoint_for(service):
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    own = os.environ.get("AWS_ENDPOINT_URL_" + service.upper().replace("-", "_").replace(" ", "_"))
    return own or os.environ.get("AWS_ENDPOINT_URL") or None


def wrap_create_client(module):
    import botocore  # the module that is being imported has imported it already
    if tuple(int(n) for n in botocore.__version__.split(".")[:2]) >= (1, 31):
        return
    plain = module.Session.create_client

    @functools.wraps(plain)
    def create_client(self, service_name, region_name=None, api_version=None, use_ssl=True, verify=None,
                      endpoint_url=None, *args, **kwargs):
        if endpoint_url is None:
            endpoint_url = endpoint_for(service_name)
        return plain(self, service_name, region_name, api_version, use_ssl, verify, endpoint_url, *args, **kwargs)

    module.Session.create_client = create_client


class BotocoreHook(importlib.abc.MetaPathFinder):
    """Finds botocore.session as everybody else would, and wraps create_client once it is loaded."""

    def find_spec(self, name, path, target=None):
        if name != "botocore.session":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            wrap_create_client(module)

        spec.loader.exec_module = exec_module
        return spec


# ---- the handler's second argument ----

class Context:
    def __init__(self, headers):
        env = os.environ
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = env.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = env.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = env.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = env.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = env.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.identity = None
        self.client_context = None
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))


# ---- the Runtime API ----

class RuntimeApi:
    def __init__(self, address):
        self.address = address
        self.connection = None

    def call(self, method, path, body=None, headers=None):
        """One request on a connection that is kept; returns (status, headers, body)."""
        for fresh in (False, True):
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.address, timeout=None)
                fresh = True
            try:
                self.connection.request(method, API + path, body, headers or {})
                answer = self.connection.getresponse()
                return answer.status, answer.headers, answer.read()
            except (http.client.HTTPException, OSError):
                self.connection.close()
                self.connection = None
                if fresh:
                    raise

    def report(self, path, error):
        flush()
        self.call("POST", path, json.dumps(error).encode(), {
            "Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": error["errorType"]})


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass


def error_object(kind, message, request_id=None, trace=()):
    error = {"errorMessage": message, "errorType": kind, "stackTrace": list(trace)}
    if request_id is not None:
        error["requestId"] = request_id
    print(f"[ERROR] {kind}: {message}")
    for line in trace:
        print(line, end="" if line.endswith("\n") else "\n")
    return error


def trace_of(e):
    """The stack below this file: what the function's author can do something about."""
    frames = [f for f in traceback.extract_tb(e.__traceback__) if f.filename != __file__]
    return traceback.format_list([f for f in frames if not f.filename.startswith("<frozen importlib")])


# ---- loading ----

class HandlerError(Exception):
    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind = kind
        self.trace = trace


def load_handler(name):
    module_name, _, function_name = name.rpartition(".")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except SyntaxError as e:
        raise HandlerError("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {e}") from e
    except ImportError as e:
        raise HandlerError("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {e}", trace_of(e)) from e
    except Exception as e:
        raise HandlerError(type(e).__name__, str(e), trace_of(e)) from e
    handler = getattr(module, function_name, None)
    if not callable(handler):
        raise HandlerError("Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'")
    return handler


class LogFormat(logging.Formatter):
    """[LEVEL] time request-id message, tab separated, as functions' logs look."""
    converter = time.gmtime
    request_id = ""

    def format(self, record):
        record.aws_request_id = LogFormat.request_id
        return super().format(record)


def set_up_logging():
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LogFormat("[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s",
                                   "%Y-%m-%dT%H:%M:%S"))
    logging.getLogger().addHandler(handler)


# ---- events ----

def run_handler(handler, body, context):
    """Returns (result as bytes, None) or (None, error object)."""
    request_id = context.aws_request_id
    try:
        event = json.loads(body) if body.strip() else {}
    except ValueError as e:
        return None, error_object("Runtime.UnmarshalError", f"Unable to unmarshal input: {e}", request_id)
    try:
        result = handler(event, context)
    except Exception as e:
        return None, error_object(type(e).__name__, str(e), request_id, trace_of(e))
    try:
        result = json.dumps(result, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as e:
        return None, error_object("Runtime.MarshalError", f"Unable to marshal response: {e}", request_id)
    if len(result) > RESPONSE_MAX:  # said here, because the other side may hang up on a body that is far too long
        return None, error_object("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed "
                                  f"payload size ({RESPONSE_MAX} bytes): it has {len(result)}.", request_id)
    return result, None


def serve_one(api, handler):
    status, headers, body = api.call("GET", "/invocation/next")
    if status != 200:
        raise SystemExit(f"the Runtime API refused to give an event: {status} {body!r}")
    context = Context(headers)
    base = "/invocation/" + context.aws_request_id
    LogFormat.request_id = context.aws_request_id
    os.environ["_X_AMZN_TRACE_ID"] = headers.get("Lambda-Runtime-Trace-Id", "")
    try:
        result, error = run_handler(handler, body, context)
    except SystemExit as e:
        # the process really ends, as the handler asked; the caller learns why
        api.report(base + "/error", error_object("Runtime.ExitError", f"the handler called sys.exit({e.code!r})",
                                                 context.aws_request_id, trace_of(e)))
        raise
    if error is None:
        flush()
        api.call("POST", base + "/response", result, {"Content-Type": "application/json"})
    else:
        api.report(base + "/error", error)


def main():
    root = os.environ["LAMBDA_TASK_ROOT"]
    sys.path[0] = root  # in place of this file's own folder
    sys.dont_write_bytecode = True  # the folder belongs to the package store
    sys.stdout.reconfigure(line_buffering=True)
    sys.meta_path.insert(0, BotocoreHook())
    set_up_logging()
    api = RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = load_handler(os.environ["_HANDLER"])
    except HandlerError as e:
        api.report("/init/error", error_object(e.kind, str(e), trace=e.trace))
        sys.exit(1)
    while True:
        serve_one(api, handler)


if __name__ == "__main__":
    main()
