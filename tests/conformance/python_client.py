"""Make calls with a client that openapi-generator has made for Python; a program for test_openapi_generator.py.

Arguments: the URL of the server, and a file with the calls as JSON, a list of [operation, body]. Prints the outcomes.
"""

from __future__ import annotations

import inspect
import json
import sys
from datetime import date
from typing import Any, get_type_hints

import openapi_client  # type: ignore[import-not-found] # the generated package, in the current folder

STREAMS = ("count", "points", "history")


def operations(client: Any) -> dict[str, Any]:
    """Return the methods of all API classes by name."""
    classes = [one for name, one in inspect.getmembers(openapi_client, inspect.isclass) if name.endswith("Api")]
    return {name: method for one in classes for name, method in inspect.getmembers(one(client), inspect.ismethod)}


def plain(value: Any) -> Any:
    """Return a result as JSON data."""
    if hasattr(value, "actual_instance"):  # a union
        return plain(value.actual_instance)
    if hasattr(value, "to_json"):
        return json.loads(value.to_json())
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return value.isoformat() if isinstance(value, date) else value


def call(methods: dict[str, Any], name: str, body: Any) -> Any:
    """Return the outcome of a call: {"result": ...} or {"problem": the parsed document}."""
    method = methods[name]
    first = next(iter(inspect.signature(method).parameters))
    kind = get_type_hints(method)[first]
    given = kind.from_json(json.dumps(body)) if hasattr(kind, "from_json") else body
    if name.rpartition("_")[2] in STREAMS:
        # The generated code knows no media type of a stream, so it is read as it comes.
        return {"result": methods[f"{name}_without_preload_content"](given).data.decode()}
    try:
        return {"result": plain(method(given))}
    except openapi_client.ApiException as error:
        return {"problem": plain(error.data), "status": error.status, "text": str(error)[:500]}


def main() -> None:
    """Make the calls."""
    base, path = sys.argv[1:]
    methods = operations(openapi_client.ApiClient(openapi_client.Configuration(host=base)))
    with open(path, encoding="utf-8") as file:
        calls = json.load(file)
    described = {
        name: plain(methods[name]()) for name in sorted(methods) if name.startswith("describe_") and "_with" not in name
    }
    print(
        json.dumps({"calls": [call(methods, name, body) for name, body in calls], "described": described}, default=str)
    )


if __name__ == "__main__":
    main()
