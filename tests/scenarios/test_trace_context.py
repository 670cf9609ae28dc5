"""Traces through a server that calls another one: what arrives, and what is sent on.

Source: W3C Trace Context level 2. The cases follow the sections of the specification.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator

import pytest

from portal import CallContext, Consumer, HTTPPortal, LocalPortal
from portal.serving import Request, Response

Rows = list[tuple[str, str]]

TRACE, SPAN = "12345678901234567890123456789012", "1234567890123456"
GOOD = f"00-{TRACE}-{SPAN}-01"
WELL_FORMED = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-(0[0-3])")


class Hops:
    """A portal whose method `relay` calls its method `called`; keeps the headers that `called` gets."""

    def __init__(self) -> None:
        self.received: list[dict[str, str]] = []
        self.portal = HTTPPortal(http_middleware=[self._record])
        self.consumer = Consumer()
        self.called_at = self.portal.apply(self.called)
        self.portal.apply(self.relay)

    def _record(self, request: Request, call_next: object) -> Response:
        if request.method == "POST" and "called" in request.head.path:
            self.received.append(dict(request.head.headers))
        return call_next(request)  # type: ignore[operator, no-any-return]

    def called(self, context: CallContext) -> str | None:
        return context.traceparent

    def relay(self, times: int) -> list[str | None]:
        return [self.consumer.call_at(self.called_at) for _ in range(times)]

    def send(self, rows: Rows, times: int = 1) -> list[dict[str, str]]:
        """Call `relay` with these headers; return what `called` got."""
        self.received.clear()
        connection = http.client.HTTPConnection("127.0.0.1", self.portal.port, timeout=10)
        body = b'{"times":%d}' % times
        connection.putrequest("POST", "/api/relay")
        for name, value in [*rows, ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]:
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        response.read()
        connection.close()
        assert len(self.received) == times
        return list(self.received)


@pytest.fixture(scope="module")
def hops() -> Iterator[Hops]:
    made = Hops()
    with made.portal:
        yield made
    made.consumer.close()


def trace_of(headers: dict[str, str]) -> tuple[str, str, str]:
    found = WELL_FORMED.fullmatch(headers["traceparent"])
    assert found is not None, headers["traceparent"]
    return found[1], found[2], found[3]


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (GOOD, "01"),
        (f"00-{TRACE}-{SPAN}-00", "00"),
        (f"00-{TRACE}-{SPAN}-03", "03"),
        (f"00-{TRACE}-{SPAN}-ff", "03"),
        (f" \t{GOOD}\t ", "01"),
        (f"cc-{TRACE}-{SPAN}-01", "01"),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", "01"),
    ],
)
@pytest.mark.parametrize("name", ["traceparent", "TraceParent", "TRACEPARENT"])
def test_a_trace_is_continued_with_a_new_parent_id(hops: Hops, name: str, given: str, flags: str) -> None:
    trace, span, sent = trace_of(hops.send([(name, given)])[0])
    assert (trace, sent) == (TRACE, flags)
    assert span != SPAN


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("trace-parent", GOOD)],
        [("trace.parent", GOOD)],
        [("traceparent", GOOD), ("traceparent", GOOD)],
        [("traceparent", GOOD), ("traceparent", f"00-{TRACE[:-1]}1-{SPAN}-01")],
        [("traceparent", f"cc-{TRACE}-{SPAN}-01-a"), ("traceparent", f"cc-{TRACE}-{SPAN}-01-a")],
        *[
            [("traceparent", text)]
            for text in (
                "",
                f"{GOOD}.",
                f"{GOOD}-what-the-future-will-be-like",
                f"cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like",
                f"ff-{TRACE}-{SPAN}-01",
                f".0-{TRACE}-{SPAN}-01",
                f"0000-{TRACE}-{SPAN}-01",
                f"0-{TRACE}-{SPAN}-01",
                f"00-{'0' * 32}-{SPAN}-01",
                f"00-.{TRACE[1:]}-{SPAN}-01",
                f"00-{TRACE}3-{SPAN}-01",
                f"00-{TRACE[1:]}-{SPAN}-01",
                f"00-{TRACE}-{'0' * 16}-01",
                f"00-{TRACE}-{SPAN[:-1]}.-01",
                f"00-{TRACE}-{SPAN}7-01",
                f"00-{TRACE}-{SPAN[1:]}-01",
                f"00-{TRACE}-{SPAN}-.0",
                f"00-{TRACE}-{SPAN}-001",
                f"00-{TRACE}-{SPAN}-1",
            )
        ],
    ],
)
def test_a_missing_malformed_or_repeated_traceparent_starts_a_trace(hops: Hops, rows: Rows) -> None:
    """Its tracestate is dropped."""
    found = hops.send([*rows, ("tracestate", "foo=1")])[0]
    trace, span, flags = trace_of(found)
    assert trace not in "".join(value for _, value in rows)
    assert span != SPAN
    assert flags == "02"  # not sampled; the trace id is random
    assert "tracestate" not in found


@pytest.mark.parametrize("rows", [[("traceparent", GOOD)], [], [("traceparent", "00-xyz")]])
def test_calls_of_one_call_share_a_trace(hops: Hops, rows: Rows) -> None:
    found = [trace_of(headers) for headers in hops.send(rows, 3)]
    assert len({trace for trace, _, _ in found}) == 1
    assert len({SPAN, *[span for _, span, _ in found]}) == 4


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        (["foo=1,bar=2"], "foo=1,bar=2"),
        (["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], "foo=1,bar=2,rojo=1,congo=2,baz=3"),
        (["", "foo=1", ""], "foo=1"),
        (["\t foo=1 \t , \t bar=2 \t"], "foo=1,bar=2"),
        (["foo=1,foo=2", "foo=1"], "foo=1"),
        (["foo@@bar=1,b*_-/0= ~"], "foo@@bar=1,b*_-/0= ~"),
        ([",".join(f"k{n}=v" for n in range(16)), ",".join(f"l{n}=v" for n in range(16))], "32"),
        (["z" * 256 + "=1"], "z" * 256 + "=1"),
        ([""], None),
        (["foo=1", "z" * 257 + "=1"], None),
        ([",".join(f"k{n}=v" for n in range(33))], None),
        (["FOO=1"], None),
        (["foo.bar=1"], None),
        (["@foo=1,bar=2"], None),
        (["foo=bar=baz"], None),
        (["foo=,bar=3"], None),
        (["foo=1", "bar"], None),
    ],
)
def test_tracestate_travels_with_a_trace(hops: Hops, values: list[str], sent: str | None) -> None:
    found = hops.send([("traceparent", GOOD), *[("TraceState", value) for value in values]])[0]
    assert trace_of(found)[0] == TRACE
    state = found.get("tracestate")
    assert state == sent if sent != "32" else state is not None and state.count("=") == 32


def test_a_proxy_may_add_an_id_of_its_own(hops: Hops) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", hops.portal.port, timeout=10)
    for ids in (["mine", "proxy"], ["same", "same"], ["mine", "proxy", "other"]):
        connection.putrequest("POST", "/api/called")
        for one in ids:
            connection.putheader("X-Request-ID", one)
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"null")
        replaced = response.headers["X-Request-ID"]
        assert re.fullmatch("[0-9a-f]+-[0-9a-f]+", replaced)
    connection.close()


def test_the_function_sees_the_trace_of_its_caller_at_every_address(hops: Hops) -> None:
    rpc = {"jsonrpc": "2.0", "id": 1, "method": "called"}
    connection = http.client.HTTPConnection("127.0.0.1", hops.portal.port, timeout=10)
    headers = {"traceparent": GOOD, "Content-Type": "application/json"}
    connection.request("POST", "/api/rpc", json.dumps(rpc), headers)
    assert f'"{GOOD}"'.encode() in connection.getresponse().read()
    connection.close()
    local = LocalPortal()
    called = CallContext(traceparent=GOOD, tracestate="foo=1")
    for address in (hops.called_at, local.apply(hops.called)):
        got = hops.consumer.call_at(address, context=called)
        trace, span, flags = trace_of({"traceparent": got})
        assert (trace, flags) == (TRACE, "01")
        assert span != SPAN


def test_a_call_from_outside_of_any_call_has_no_trace(hops: Hops) -> None:
    assert hops.consumer.call_at(hops.called_at) is None
