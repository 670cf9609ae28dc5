"""What is the same in every OpenAPI document: problems, headers, JSON-RPC, security schemes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import ConfigError
from ...jsonrpc.messages import MAX_BATCH

__all__ = ["ABOUT", "HEADERS", "PARAMETERS", "REASONS", "SCHEMAS", "rpc_operation", "security_schemes"]

#: What is true of every call.
ABOUT = (
    "A call is a POST with a JSON object of parameters; those that are not declared are refused. Its header "
    "X-Portal-Timeout says how many milliseconds the caller waits; when they are over, 504 comes."
)

#: What each status says, for people.
REASONS = {
    400: "The request is no JSON, or one of its headers is malformed.",
    401: "Who is calling is not known: no credential, or a wrong one.",
    403: "The caller is known and may not do this.",
    404: "No such function or version; or something the function looked for is not there.",
    406: "A stream is sent as application/x-ndjson or text/event-stream, and Accept asks for neither.",
    408: "The request did not arrive in time.",
    413: "The body is too long.",
    415: "The body is not called JSON by its Content-Type.",
    422: "The parameters do not fit their schema; `errors` lists every fault.",
    429: "Too many calls.",
    500: "The function failed, or its result does not fit its schema.",
    502: "A call that the function made to another server failed.",
    503: "Every worker and every place in the queue is taken, or a circuit breaker refuses calls for now.",
    504: "No answer before the deadline; the function may still be running.",
}

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The id under which logs name this call.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds to wait before the next try.", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"description": "Which credentials are taken.", "schema": {"type": "string"}},
}

PARAMETERS: dict[str, dict[str, Any]] = {
    "RequestID": {
        "name": "X-Request-ID",
        "description": "The id of the call, 1 to 128 visible ASCII characters; the server makes one otherwise.",
        "required": False,
        "schema": {"type": "string"},
    },
    "PortalTimeout": {
        "name": "X-Portal-Timeout",
        "description": "Milliseconds that the caller still waits; 504 comes when they are over.",
        "required": False,
        "schema": {"type": "integer", "minimum": 0, "maximum": 9_999_999_999},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "description": "Under one key the first answer is given again, where the server keeps answers; the key of a "
        "call with other parameters is refused with 422. 1 to 255 visible ASCII characters.",
        "required": False,
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    },
}

_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_OBJECT = {"type": "object", "additionalProperties": True}
_ID = {"type": ["string", "number", "null"]}
_VERSION = {"type": "string", "const": "2.0"}
_NUMBERS = {"a": 1, "b": 2}

SCHEMAS: dict[str, dict[str, Any]] = {
    "Problem": {
        "type": "object",
        "description": "An error (RFC 9457).",
        "properties": {
            "type": _TEXT | {"description": "A URN that ends in the code."},
            "title": _TEXT | {"description": "The class of the error."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": _TEXT | {"description": "One sentence for a person."},
            "code": _TEXT | {"description": "A word for a machine, such as `validation_error`."},
            "request_id": {"type": ["string", "null"]},
            "retryable": _FLAG | {"description": "Whether the same call may succeed if it is sent again."},
            "delivery": _TEXT
            | {
                "enum": ["not_sent", "unknown", "executed"],
                "description": "Whether the function ran: it did not start, it may have started, it started.",
            },
            "hint": _TEXT | {"description": "What the caller can do about it."},
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Fault"}},
            "retry_after": {"type": "number", "description": "Seconds."},
        },
        "required": ["type", "title", "status", "detail", "code", "request_id", "retryable"],
        "additionalProperties": True,
    },
    "Fault": {
        "type": "object",
        "description": "One thing wrong with one value.",
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
        "description": "The contract of a function.",
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
            "fingerprint": _TEXT,
        },
        "required": ["name", "version", "input", "output", "fingerprint"],
    },
    "RPCRequest": {
        "type": "object",
        "description": "A JSON-RPC 2.0 request; without an id it is a notification, which is not answered.",
        "properties": {
            "jsonrpc": _VERSION,
            "method": _TEXT,
            "params": {"anyOf": [_OBJECT, {"type": "array", "items": {}}]},
            "id": _ID,
            "meta": _OBJECT,
        },
        "required": ["jsonrpc", "method"],
    },
    "RPCError": {
        "type": "object",
        "properties": {"code": {"type": "integer"}, "message": _TEXT, "data": _OBJECT},
        "required": ["code", "message"],
    },
    "RPCAnswer": {
        "type": "object",
        "description": "A JSON-RPC 2.0 answer, with a result or an error.",
        "properties": {
            "jsonrpc": _VERSION,
            "result": {},
            "error": {"$ref": "#/components/schemas/RPCError"},
            "id": _ID,
        },
        "required": ["jsonrpc", "id"],
    },
}


def rpc_operation(method: str = "add", params: Any = _NUMBERS) -> dict[str, Any]:
    """The POST of JSON-RPC, without its responses; its examples call `method` with `params`.

    Any JSON is taken: what is no request is answered with status 200 and an error, as JSON-RPC has it.
    """
    request = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
    return {
        "operationId": "call_json_rpc",
        "tags": ["json-rpc"],
        "summary": "Call by JSON-RPC 2.0: one request, or a batch.",
        "description": f"A request is an RPCRequest; a batch is a list of 1 to {MAX_BATCH} of them. A method is named "
        "as in a path, with dots or slashes: `orders.price`, `add@2`. What is no request is answered with an error. "
        "X-Request-ID, X-Portal-Timeout and Idempotency-Key are taken as with a call by path.",
        "requestBody": {
            "required": False,  # even what is no JSON is answered by JSON-RPC
            "content": {
                "application/json": {
                    "schema": {},
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
        {"type": "mutualTLS", "description": "The client's TLS certificate; a browser offers those that it has."},
    ),
]


def security_schemes(authenticators: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """Name -> Security Scheme Object of the authenticators that say what they are, in their order.

    Raises: ConfigError for a `security_scheme` that is no (name, dict).
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
    raise ConfigError(
        f"security_scheme of {type(authenticator).__name__} is {given!r:.80}",
        path="auth",
        expected="a tuple of a name and a Security Scheme Object",
    )


def _known_schemes(authenticator: Any) -> list[tuple[str, dict[str, Any]]]:
    """The schemes of Portal's own classes and those derived from them, by name: what is not in use is not loaded."""
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
