"""Time the parts of a call: `python -m benchmarks.profile_call` prints Markdown tables for docs/performance.md.

Each part is timed alone, in turn with all others in one process. The parts do not quite add up to the whole, as a part
alone finds the processor's caches warmer than it does in a call.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from time import time
from typing import Any

from portal import CallContext, Consumer, LocalPortal, function
from portal._internal.json_encoder import encode_json
from portal._internal.json_text import decode_json
from portal.address import Address
from portal.calls.deadlines import DeadlineWatch
from portal.calls.dispatcher import Dispatcher
from portal.calls.middleware import Call, CallNext
from portal.context import new_request_id
from portal.http.messages.call_headers import context_of, headers_of
from portal.http11.head_cache import HeadCache
from portal.http11.request_head import parse_request_head
from portal.http11.response_head import encode_head

from .report import table
from .timing import time_by_turns
from .workload import BODY, EXPECTED, PARAMS, add

__all__ = ["HEAD", "main", "profile"]

#: The head of a request of Portal's own client.
HEAD = (
    b"POST /api/add/3f2a9c51 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: application/json\r\nUser-Agent: portal\r\n"
    b"Content-Type: application/json\r\nX-Request-ID: 5f3a9c51aabb-1f\r\nX-Portal-Timeout: 29999\r\n"
    b"Content-Length: 17\r\n\r\n"
)
_SHARE_BOUND = 15.0  # microseconds


@dataclass(frozen=True)
class _Row:
    """A row of a table: a statement to time, or the difference of two other rows.

    Attributes:
        source: the statement.
        minus: the names of the row to subtract from and of the row to subtract.
    """

    name: str
    source: str = ""
    minus: tuple[str, str] | None = None


_TABLES: dict[str, tuple[_Row, ...]] = {
    "The floor": (
        _Row("the function itself: `add(a=1.5, b=2.5)`", "add(a=1.5, b=2.5)"),
        _Row("JSON: `json.loads` of the parameters, `json.dumps` of the result", "loads(BODY); dumps(EXPECTED)"),
    ),
    "Inside a call": (
        _Row("request id", "new_request_id()"),
        _Row("an empty context: `CallContext()`", "CallContext()"),
        _Row("the context of a call: `CallContext.for_call()`", "CallContext.for_call()"),
        _Row("the same with a timeout", "CallContext.for_call(30.0)"),
        _Row("the call object: `Call(...)`", "Call(target, PARAMS, context)"),
        _Row("make the context current: `with context.active()`", "with context.active(): pass"),
        _Row("take and release a lock", "with lock: pass"),
        _Row("watch a deadline: `DeadlineWatch` add and discard", "watch.discard(watch.add(later, too_late))"),
        _Row("input: `Parameters.load`", "target.parameters.load(PARAMS)"),
        _Row("the check of the input: `Schema.accepts`", "target.parameters.schema.accepts(PARAMS)"),
        _Row("the function: `add(**native)`", "add(**PARAMS)"),
        _Row("output: `Schema.dump`", "target.output.dump(EXPECTED)"),
        _Row("Function.invoke: input, function, output", "target.invoke(PARAMS, context)"),
    ),
    "Dispatcher": (
        _Row("dispatch without deadline and middleware", "bare.dispatch(Call(target, PARAMS, context))"),
        _Row("dispatch with a deadline, as over HTTP", "bare.dispatch(Call(target, PARAMS, timed), too_late)"),
        _Row("dispatch with one middleware that does nothing", "one.dispatch(Call(target, PARAMS, context))"),
        _Row("dispatch with four of them", "four.dispatch(Call(target, PARAMS, context))"),
        _Row(
            "**the dispatcher without the function**",
            minus=("dispatch without deadline and middleware", "Function.invoke: input, function, output"),
        ),
        _Row(
            "**the deadline**",
            minus=("dispatch with a deadline, as over HTTP", "dispatch without deadline and middleware"),
        ),
        _Row(
            "**one middleware**",
            minus=("dispatch with one middleware that does nothing", "dispatch without deadline and middleware"),
        ),
    ),
    "A local call": (
        _Row("address from text: `Address.of`", "Address.of('local://add')"),
        _Row("find the function: `LocalPortal.resolve_function`", "portal.resolve_function(address)"),
        _Row("find the function: `Consumer.resolve`", "consumer.resolve('local://add')"),
        _Row("native arguments to JSON data: `Parameters.bind` and `dump`", "params.dump(params.bind((), PARAMS))"),
        _Row("`consumer.call_at('local://add', {...})`", "consumer.call_at('local://add', PARAMS)"),
        _Row("`consumer.call_at(address, {...})`", "consumer.call_at(address, PARAMS)"),
        _Row("resolved function `add(a=1.5, b=2.5)`", "resolved(a=1.5, b=2.5)"),
    ),
    "HTTP, without sockets": (
        _Row("request head: `parse_request_head`", "parse_request_head(HEAD)"),
        _Row("the same head again: `HeadCache.parse`", "heads.parse(HEAD)"),
        _Row("context from headers: `context_of`", "context_of(headers, 1.0)"),
        _Row("body: `decode_json`", "decode_json(BODY)"),
        _Row("result: `encode_json`", "encode_json(EXPECTED)"),
        _Row("response head: `encode_head`", "encode_head(200, response_headers, keep_alive=True, now=now)"),
        _Row("client: headers of a context: `headers_of`", "headers_of(timed)"),
    ),
}
_SHARE = "dispatch, validation, context, deadline, request id and counters"
_SHARE_SOURCE = (
    "context_now = CallContext.for_call(30.0); context_now.request_id; "
    "bare.dispatch(Call(target, PARAMS, context_now), too_late)"
)


def _call_on(call: Call, call_next: CallNext) -> Any:
    return call_next(call)


def _too_late(*error: object) -> None:
    """Respond at the deadline, which no call here reaches."""


def _scope(portal: LocalPortal, consumer: Consumer) -> dict[str, Any]:
    target = function(add)
    address = portal.apply(target)
    resolved = consumer.resolve(address)
    timed = CallContext.for_call(3600.0)
    return {
        "Address": Address,
        "BODY": BODY,
        "Call": Call,
        "CallContext": CallContext,
        "EXPECTED": EXPECTED,
        "HEAD": HEAD,
        "PARAMS": PARAMS,
        "add": add,
        "context_of": context_of,
        "decode_json": decode_json,
        "encode_head": encode_head,
        "encode_json": encode_json,
        "headers_of": headers_of,
        "new_request_id": new_request_id,
        "parse_request_head": parse_request_head,
        "too_late": _too_late,
        "loads": json.loads,
        "dumps": json.dumps,
        "portal": portal,
        "consumer": consumer,
        "target": target,
        "address": address,
        "resolved": resolved,
        "params": resolved.parameters,
        "context": CallContext(),
        "timed": timed,
        "later": timed.deadline,
        "lock": Lock(),
        "watch": DeadlineWatch(),
        "bare": Dispatcher(),
        "one": Dispatcher([_call_on]),
        "four": Dispatcher([_call_on] * 4),
        "heads": HeadCache(),
        "headers": parse_request_head(HEAD).headers,
        "response_headers": [
            ("Content-Type", "application/json"),
            ("X-Request-ID", "5f3a9c51aabb-1f"),
            ("Content-Length", "3"),
        ],
        "now": time(),
    }


def profile(repeats: int = 15) -> dict[str, float]:
    """Return the least nanoseconds of each row, and the differences."""
    rows = [row for table_rows in _TABLES.values() for row in table_rows]
    sources = {row.name: row.source for row in rows if row.minus is None} | {_SHARE: _SHARE_SOURCE}
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        scope = _scope(portal, consumer)
        try:
            least = {name: min(figures) for name, figures in time_by_turns(sources, scope, repeats=repeats).items()}
        finally:
            for name in ("watch", "bare", "one", "four"):
                scope[name].close()
    return least | {row.name: least[row.minus[0]] - least[row.minus[1]] for row in rows if row.minus is not None}


def _lines(figures: dict[str, float]) -> Iterator[str]:
    yield f"Least nanoseconds, {platform.python_implementation()} {platform.python_version()}."
    for title, rows in _TABLES.items():
        yield f"\n### {title}\n"
        yield from table((("part", "ns"), *((row.name, f"{figures[row.name]:,.0f}") for row in rows)))
    share = (figures[_SHARE] - figures[_TABLES["The floor"][0].name]) / 1000
    verdict = "met" if share < _SHARE_BOUND else "NOT met"
    yield f"\nThe dispatcher: {_SHARE} take {share:.1f} us a call without the function itself"
    yield f"(target: under {_SHARE_BOUND:g} us, {verdict})."


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_call", description=__doc__)
    parser.add_argument("--repeats", type=int, default=15, help="turns of each piece, of about 20 ms (15)")
    options = parser.parse_args(arguments)
    print("\n".join(_lines(profile(options.repeats))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
