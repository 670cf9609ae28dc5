"""The responses of the errors that a function declares with `raises`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...network.problem import PROBLEM
from ...schema.bundle.bundle import SchemaBundle
from ...schema.bundle.naming import pascal_case
from .openapi_parts import REASONS, problem_headers

__all__ = ["declared_responses"]

_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def declared_responses(raises: Iterable[Mapping[str, Any]], name: str, bundle: SchemaBundle) -> dict[int, Any]:
    """Return a response for each status of declared errors, in place of the general one.

    Each error is a component of its own: a problem with its code and its members.

    Args:
        raises: of the schema of the function.
        name: the operation id.
        bundle: takes the components.
    """
    by_status: dict[int, list[Mapping[str, Any]]] = {}
    for row in raises:
        by_status.setdefault(int(row["status"]), []).append(row)
    return {status: _response(status, rows, name, bundle) for status, rows in sorted(by_status.items())}


def _response(status: int, rows: list[Mapping[str, Any]], name: str, bundle: SchemaBundle) -> dict[str, Any]:
    schemas = [_component(row, name, bundle) for row in rows]
    lines = [f"`{row['code']}`: {row['description']}" for row in rows]
    general = REASONS.get(status)
    return {
        "description": "\n\n".join([*lines, *([f"Otherwise: {general}"] if general else [])]),
        "headers": problem_headers(status),
        "content": {
            PROBLEM: {
                "schema": {"anyOf": [*schemas, _PROBLEM]} if general or len(schemas) > 1 else schemas[0],
                "examples": {str(row["code"]): {"value": _example(status, row)} for row in rows},
            }
        },
    }


def _component(row: Mapping[str, Any], name: str, bundle: SchemaBundle) -> dict[str, Any]:
    members = {member: schema for member, schema in row["members"].items() if isinstance(schema, dict)}
    code = {"type": "string", "const": row["code"]}
    own: dict[str, Any] = {"type": "object", "properties": {"code": code, **members}}
    placed = bundle.inline(f"{name}_{row['code']}", own, formats=False)
    schema = {"description": row["description"], "allOf": [_PROBLEM, placed]}
    base = title = pascal_case(str(row["name"]), "Error")
    number = 1
    while bundle.schemas.get(title, schema) != schema:  # functions that declare the same error share it
        number += 1
        title = f"{base}{number}"
    return bundle.add(title, schema)


def _example(status: int, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": f"urn:portal:error:{row['code']}",
        "title": row["name"],
        "status": status,
        "detail": row["description"],
        "code": row["code"],
        "request_id": "3f2a9c51d9c8-1",
        "retryable": row["retryable"],
    }
