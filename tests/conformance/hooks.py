"""What schemathesis is told beyond the document; loaded by schemathesis itself, from schemathesis.toml.

Nothing here leaves a check out. Each hook says why it is there.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import schemathesis
from schemathesis.core import NotSet

_KEY = re.compile("[!-~]{1,255}")
_numbers = itertools.count()


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Put tuples of responses behind two references.

    schemathesis 4.32 writes `prefixItems` of a response's own schema as draft 7's `items` and then refuses that as
    invalid 2020-12; what it leaves behind a reference it checks as it stands.
    """
    schemas = raw_schema["components"]["schemas"]
    for number, media in enumerate(_responses(raw_schema)):
        if "prefixItems" in json.dumps(media["schema"]):
            name = f"Tuple{number}"
            schemas[name] = media["schema"]
            schemas[f"{name}Again"] = {"$ref": f"#/components/schemas/{name}"}
            media["schema"] = {"allOf": [{"$ref": f"#/components/schemas/{name}Again"}]}


def _responses(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        media
        for operations in document["paths"].values()
        for operation in operations.values()
        for response in operation["responses"].values()
        for media in response.get("content", {}).values()
    ]


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Leave out a call without a body where no parameter is required.

    The server takes it for an empty object, on purpose. The document says that a body is required, so that generated
    clients have it as their first parameter. JSON-RPC reports a missing request with status 200.
    """
    if case.method.upper() != "POST" or not isinstance(case.body, NotSet):
        return True
    schema = case.operation.definition.raw["requestBody"]["content"]["application/json"]["schema"]
    name = schema.get("$ref", "").rpartition("/")[2]
    found = case.operation.schema.raw_schema["components"]["schemas"].get(name, schema)
    return bool(found.get("required"))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Give each request an idempotency key of its own, where it has a valid one; and wait briefly where it may be long.

    A key must not be reused with another request, and a server refuses that with 422
    (draft-ietf-httpapi-idempotency-key-header, sections 2.2 and 2.7); a generator of random requests does not know.
    `orders.slow` waits for up to a minute: some hundred times, that is too long for anybody.
    """
    for name, value in list((case.headers or {}).items()):
        if name.lower() == "idempotency-key" and isinstance(value, str) and _KEY.fullmatch(value):
            case.headers[name] = f"{value[:200]}-{next(_numbers)}"
    if case.operation.path.endswith("/orders/slow") and isinstance(case.body, dict):
        seconds = case.body.get("seconds")
        if type(seconds) in (int, float) and 1 < seconds <= 60:
            case.body = case.body | {"seconds": seconds / 1000}


@schemathesis.check
def refused_before_the_function_ran(ctx: Any, response: Any, case: Any) -> None:
    """What the document allows is not refused with 422 by its schema.

    For functions that refuse by what they know and no schema can say, such as the coupons that there are, 422 is in
    schemathesis.toml (RFC 9110 section 15.5.21: understood, and not to be processed). There the problem says that the
    function had begun; without that, the schema refused, and the document is wrong.
    """
    meta = case.meta
    if response.status_code != 422 or meta is None or not meta.generation.mode.is_positive:
        return
    problem = json.loads(response.content)
    executed = problem.get("delivery") == "executed"
    assert executed, f"fits the document and is refused before the function runs: {problem['detail']}"


@schemathesis.check
def an_invalid_request_gets_an_error(ctx: Any, response: Any, case: Any) -> None:
    """A JSON-RPC request that does not fit the document gets an error, unless it is a notification."""
    meta = case.meta
    if (
        response.status_code != 200
        or meta is None
        or meta.generation.mode.is_positive
        or not case.path.endswith("/rpc")
    ):
        return
    replies = json.loads(response.content)
    assert any("error" in reply for reply in (replies if isinstance(replies, list) else [replies])), replies
