"""The fingerprint of a function's schema, the last segment of its address: it changes when callers must change."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .jsondata import MEMBER_NAMES, copy_json
from .subschemas import walk

__all__ = ["fingerprint_of"]


def fingerprint_of(name: str, version: str, input: dict[str, Any], output: dict[str, Any]) -> str:
    """Return 8 hex digits that depend on name, version, input and output only.

    Titles, descriptions and the names of enumeration members are left out: other words change nothing for a caller.
    """
    identity = {"name": name, "version": version, "input": _without_words(input), "output": _without_words(output)}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _without_words(schema: dict[str, Any]) -> Any:
    copy = copy_json(schema)
    for part in walk(copy):
        for keyword in ("title", "description", MEMBER_NAMES):
            part.pop(keyword, None)
    return copy
