"""The parts that all OpenAPI documents share: problems, headers, JSON-RPC, security schemes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import ConfigError
from ...jsonrpc.messages import MAX_BATCH

__all__ = [
    "ABOUT",
    "HEADERS",
    "PARAMETERS",
    "REASONS",
    "SCHEMAS",
    "problem_headers",
    "response_headers",
    "rpc_operation",
    "security_schemes",
]

#: The description of calls in general.
ABOUT = (
    "A call is a POST with a JSON object of parameters. Undeclared parameters are rejected. The header "
    "X-Portal-Timeout is the number of milliseconds that the caller waits. After that time the status is 504."
)

#: The meaning of each status.
REASONS = {
    400: "The body is not valid JSON, or a header is malformed.",
    401: "The credential is missing or invalid.",
    403: "The caller is authenticated but not allowed to do this.",
    404: "The function or version does not exist, or the function did not find something.",
    406: "Accept allows neither application/x-ndjson nor text/event-stream, the formats of a stream.",
    408: "The request did not arrive in time.",
    413: "The body is too long.",
    415: "The Content-Type is not JSON.",
    422: "The parameters do not match their schema. `errors` lists every fault.",
    429: "The rate limit was exceeded.",
    500: "The function failed, or its result does not match its schema.",
    502: "A call that the function made to another server failed.",
    503: "All workers are busy and the queue is full, or a circuit breaker is open.",
    504: "The call did not finish before its deadline. The function may still be running.",
}

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The id of this call in the logs.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds to wait before the next attempt.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "The accepted authentication schemes.", "schema": {"type": "string"}},
}


def response_headers(*names: str) -> dict[str, Any]:
    """Return references to the components of headers."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def problem_headers(status: int) -> dict[str, Any]:
    """Return the headers of a problem document by its status."""
    more = {429: ["Retry-After"], 503: ["Retry-After"], 401: ["WWW-Authenticate"]}
    return response_headers("X-Request-ID", *more.get(status, []))


PARAMETERS: dict[str, dict[str, Any]] = {
    "RequestID": {
        "name": "X-Request-ID",
        "description": "The id of the call: 1 to 128 visible ASCII characters. By default the server creates one.",
        "required": False,
        "schema": {"type": "string"},
    },
    "PortalTimeout": {
        "name": "X-Portal-Timeout",
        "description": "Milliseconds that the caller waits. After that time the status is 504.",
        "required": False,
        "schema": {"type": "integer", "minimum": 0, "maximum": 9_999_999_999},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "description": "A server that stores responses returns the first response again for the same key. The same "
        "key with other parameters is rejected with 422. 1 to 255 visible ASCII characters.",
        "required": False,
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    },
}

_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_OBJECT = {"type": "object", "additionalProperties": True}
_REF = "#/components/schemas/"
_ID = {"description": "A string, a number or null."}  # generated clients read lists of unions badly
_VERSION = {"type": "string", "const": "2.0"}
_NUMBERS = {"a": 1, "b": 2}

SCHEMAS: dict[str, dict[str, Any]] = {
    "Problem": {
        "type": "object",
        "description": "An error (RFC 9457).",
        "properties": {
            "type": _TEXT | {"description": "A URN that ends in the code."},
            "title": _TEXT | {"description": "The kind of error."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": _TEXT | {"description": "One sentence for a human reader."},
            "code": _TEXT | {"description": "A code for programs, such as `validation_error`."},
            "request_id": {"type": ["string", "null"]},
            "retryable": _FLAG | {"description": "Whether the same call may succeed if it is sent again."},
            "delivery": {
                "$ref": f"{_REF}ProblemDelivery",
                "description": "Whether the function ran: it did not start, it may have started, it started.",
            },
            "hint": _TEXT | {"description": "A step that the caller can take to solve the problem."},
            "errors": {"type": "array", "items": {"$ref": f"{_REF}Fault"}},
            "retry_after": {"type": "number", "description": "Seconds."},
        },
        "required": ["type", "title", "status", "detail", "code", "request_id", "retryable"],
        "additionalProperties": True,
    },
    "ProblemDelivery": _TEXT | {"enum": ["not_sent", "unknown", "executed"]},
    "Fault": {
        "type": "object",
        "description": "One fault of one value.",
        "properties": {
            "path": _TEXT | {"description": "JSON Pointer to the value."},
            "message": _TEXT,
            "rule": _TEXT | {"description": "The JSON Schema keyword that was broken."},
            "expected": {},
            "value": _TEXT | {"description": "The value, shortened."},
        },
        "required": ["path", "message", "rule", "expected", "value"],
    },
    "FunctionSchema": {
        "type": "object",
        "description": "The schema of a function.",
        "properties": {
            "name": _TEXT,
            "version": _TEXT,
            "input": _OBJECT,
            "output": _OBJECT,
            "description": _TEXT,
            "tags": {"type": "array", "items": _TEXT},
            "examples": {"type": "array", "items": _OBJECT},
            "idempotent": _FLAG,
            "cacheable": _FLAG,
            "streaming": _FLAG,
            "deprecated": _FLAG,
            "timeout": {"type": ["number", "null"]},
            "raises": {"type": "array", "items": _OBJECT},
            "fingerprint": _TEXT,
        },
        "required": ["name", "version", "input", "output", "fingerprint"],
    },
    "RPCRequest": {
        "type": "object",
        "description": "A JSON-RPC 2.0 request. Without an id it is a notification, which gets no response.",
        "properties": {
            "jsonrpc": _VERSION,
            "method": _TEXT,
            "params": {"description": "By name, an object; by position, an array."},
            "id": _ID,
            "meta": {"$ref": f"{_REF}RPCMeta"},
        },
        "required": ["jsonrpc", "method"],
    },
    "RPCMeta": _OBJECT,
    "RPCCall": {
        "description": "One request, or a batch of them.",
        "oneOf": [
            {"$ref": f"{_REF}RPCRequest"},
            {"type": "array", "items": {"$ref": f"{_REF}RPCBatchItem"}, "minItems": 1, "maxItems": MAX_BATCH},
        ],
    },
    # Generators confuse an item of the batch with a single request if both are the same component.
    "RPCBatchItem": {"allOf": [{"$ref": f"{_REF}RPCRequest"}]},
    "RPCReplyItem": {"allOf": [{"$ref": f"{_REF}RPCResponse"}]},
    "RPCError": {
        "type": "object",
        "properties": {"code": {"type": "integer"}, "message": _TEXT, "data": _OBJECT},
        "required": ["code", "message"],
    },
    "RPCResponse": {
        "type": "object",
        "description": "A JSON-RPC 2.0 response, with a result or an error.",
        "properties": {
            "jsonrpc": _VERSION,
            "result": {},
            "error": {"$ref": f"{_REF}RPCError"},
            "id": _ID,
        },
        "required": ["jsonrpc", "id"],
    },
    "RPCReply": {
        "description": "The response to a request, or the responses to a batch.",
        "oneOf": [
            {"$ref": f"{_REF}RPCResponse"},
            {"type": "array", "items": {"$ref": f"{_REF}RPCReplyItem"}, "minItems": 1},
        ],
    },
}


def rpc_operation(method: str = "add", params: Any = _NUMBERS) -> dict[str, Any]:
    """Return the operation of the JSON-RPC endpoint, without its responses. Its examples call `method` with `params`.

    The status of a body that does not fit its schema is 200: JSON-RPC reports it by an error in the response.
    """
    request = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
    return {
        "operationId": "call_json_rpc",
        "tags": ["json-rpc"],
        "summary": "Call by JSON-RPC 2.0: one request, or a batch.",
        "description": f"A request is an RPCRequest, and a batch is a list of 1 to {MAX_BATCH} of them. A method has "
        "the name of a path, with dots or slashes: `orders.price`, `add@2`. An invalid request gets an error. "
        "X-Request-ID, X-Portal-Timeout and Idempotency-Key have the same effect as in a call by path.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"{_REF}RPCCall"},
                    "examples": {
                        "request": {"value": request},
                        "batch": {"value": [request, request | {"id": 2}]},
                    },
                }
            },
        },
    }


_SCHEMES: list[tuple[str, str, dict[str, Any]]] = [
    (
        "BearerAuth",
        "bearer",
        {"type": "http", "scheme": "bearer", "description": "A token, in the header Authorization: Bearer TOKEN."},
    ),
    (
        "JWTAuth",
        "jwt",
        {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A signed JSON Web Token, in the header Authorization: Bearer TOKEN.",
        },
    ),
    ("BasicAuth", "basic", {"type": "http", "scheme": "basic", "description": "A user's name and password."}),
    (
        "CertificateAuth",
        "certificate",
        {
            "type": "mutualTLS",
            "description": "The client's TLS certificate. A browser offers the certificates that it has.",
        },
    ),
]


def security_schemes(authenticators: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """Return the Security Scheme Objects of authenticators by name, in order. Unknown authenticators have none.

    Raises: ConfigError if a `security_scheme` is not a tuple of a name and a dict.
    """
    found: dict[str, dict[str, Any]] = {}
    for one in authenticators:
        given = getattr(one, "security_scheme", None)
        for name, scheme in _known_schemes(one) if given is None else [_checked(one, given)]:
            base, number = name, 2
            while name in found and found[name] != scheme:
                name = f"{base}{number}"
                number += 1
            found[name] = dict(scheme)
    return found


def _checked(authenticator: Any, given: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], dict):
        return given
    kind = type(authenticator).__name__
    expected = f"an authenticator; the security_scheme of {kind} must be a tuple of a name and a Security Scheme Object"
    raise ConfigError.invalid("auth", given, expected)


def _known_schemes(authenticator: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the schemes of Portal's own classes and their subclasses.

    The classes are compared by name, so that modules that are not in use are not imported.
    """
    kinds = {kind.__name__ for kind in type(authenticator).__mro__}
    for kind, name, scheme in _SCHEMES:
        if kind in kinds:
            return [(name, scheme)]
    if "ApiKeyAuth" not in kinds:
        return []
    places = [("header", authenticator.header), ("query", authenticator.query)]
    return [
        ("apiKey", {"type": "apiKey", "in": place, "name": name, "description": f"An API key, in the {what} {name}."})
        for (place, name), what in zip(places, ("header", "query parameter"), strict=True)
        if name is not None
    ]
