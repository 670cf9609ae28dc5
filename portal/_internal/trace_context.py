"""The grammar of W3C Trace Context: traceparent and tracestate.

Source: W3C Trace Context level 2, section 3.
"""

from __future__ import annotations

import os
import re

__all__ = ["new_span_id", "new_trace_id", "next_traceparent", "parse_traceparent", "parse_tracestate"]

# Only versions after 00 may have more text after the flags. A comma there would come from two joined headers.
_TRACEPARENT = re.compile(
    r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-[ -+\--~]*)?"
)
_MEMBER = re.compile(r"([0-9a-z][0-9a-z_\-*/@]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
_MAX_MEMBERS = 32
_KNOWN_FLAGS = 0x03  # sampled, and random trace id; the others must be sent as zero


def parse_traceparent(text: str | None) -> tuple[str, str, str] | None:
    """Return (trace id, parent id, flags) of a traceparent header, or None if it is absent or malformed."""
    found = _TRACEPARENT.fullmatch(text) if text else None
    return (found.group(1), found.group(2), found.group(3)) if found else None


def next_traceparent(text: str) -> str | None:
    """Return the traceparent of a nested call: same trace, new parent id, version 00. None for a malformed one."""
    parsed = parse_traceparent(text)
    return parsed and f"00-{parsed[0]}-{new_span_id()}-{int(parsed[2], 16) & _KNOWN_FLAGS:02x}"


def parse_tracestate(text: str) -> str | None:
    """Return a tracestate header without empty members, repeated keys and optional blanks.

    Returns: None for an empty or malformed one, and for one with more than 32 members.
    """
    members: dict[str, str] = {}
    for part in text.split(","):
        part = part.strip(" \t")
        if not part:
            continue
        found = _MEMBER.fullmatch(part)
        if found is None:
            return None
        members.setdefault(found[1], part)
    return ",".join(members.values()) if 0 < len(members) <= _MAX_MEMBERS else None


def new_trace_id() -> str:
    """Return a random trace id. Threads: any."""
    return os.urandom(16).hex()


def new_span_id() -> str:
    """Return a random id of a call in a trace. Threads: any."""
    return os.urandom(8).hex()
