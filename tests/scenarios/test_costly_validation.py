"""Values that are costly to validate, sent to each entrance of the HTTP portal. Other clients get their responses."""

from __future__ import annotations

import http.client
import io
import json
import threading
from collections.abc import Callable, Iterator
from random import Random
from time import monotonic
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from portal import ConfigError, HTTPPortal, function
from portal.schema import validation_stats

Send = Callable[[HTTPPortal, str, bytes], tuple[int, Any]]
#: 256 KiB when compiled; 60,000 characters would take 6 s.
COSTLY = "((0|1)*1(0|1){1922}[45])[yz]"
BITS = "".join(Random(1).choices("01", k=60_000))


def over_http(portal: HTTPPortal, path: str, body: bytes) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json", "X-Portal-Timeout": "2000"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def over_wsgi(portal: HTTPPortal, path: str, body: bytes) -> tuple[int, Any]:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ |= {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_X_PORTAL_TIMEOUT": "2000",
        "wsgi.input": io.BytesIO(body),
    }
    started: list[str] = []
    pieces = portal.wsgi(environ, lambda status, headers, *_: started.append(status))  # type: ignore[arg-type,return-value]
    return int(started[0][:3]), json.loads(b"".join(pieces))


def keep(a: Any = None, **members: Any) -> None:
    """Stand for a function that is not reached."""


def in_batch(send: Send) -> Send:
    def sent(portal: HTTPPortal, path: str, body: bytes) -> tuple[int, Any]:
        message = {"jsonrpc": "2.0", "id": 1, "method": "store", "params": json.loads(body)}
        status, (response,) = send(portal, "/api/rpc", json.dumps([message]).encode())
        assert status == 200
        return response["error"]["data"]["status"], response["error"]["data"]

    return sent


@pytest.fixture(
    params=[over_http, over_wsgi, in_batch(over_http), in_batch(over_wsgi)], ids=["http", "wsgi", "batch", "wsgi batch"]
)
def send(request: pytest.FixtureRequest) -> Iterator[Send]:
    return request.param  # type: ignore[no-any-return]


ATTACKS: dict[str, tuple[dict[str, Any], Any]] = {
    "names": (
        {"patternProperties": {"^(a+)+$": {"type": "integer"}}, "additionalProperties": False},
        {"a" * 57 + "!": 1},
    ),
    "unevaluated names": (
        {"patternProperties": {"^(a|aa)+$": {"type": "integer"}}, "unevaluatedProperties": False},
        {"a" * 60 + "!": 1},
    ),
    "text that is too long": ({"properties": {"a": {"maxLength": 5, "pattern": COSTLY}}}, {"a": BITS[:60_000]}),
    "text": ({"properties": {"a": {"pattern": COSTLY}}}, {"a": BITS[:60_000]}),
    "texts": ({"properties": {"a": {"items": {"pattern": COSTLY}}}}, {"a": [BITS[:8_000]] * 60}),
    "long names": ({"patternProperties": {COSTLY: True}}, {BITS[:60_000]: 1}),
    "one long name": (
        {"additionalProperties": {"items": {"type": "integer"}}},
        {"k" * 500_000: ["x"] * 1_000},
    ),
    "unevaluated members": (
        {"unevaluatedProperties": {"type": "integer"}},
        {f"k{number}": "x" for number in range(50_000)},
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_caller_gets_an_error_in_time_and_others_their_results(attack: str, send: Send) -> None:
    schema, value = ATTACKS[attack]
    store = function(name="store", input={"type": "object", **schema}, output={})(keep)
    with HTTPPortal() as portal:
        portal.apply(store)
        portal.apply(function(name="echo")(lambda: "here"))
        body = json.dumps(value).encode()
        found: list[tuple[int, Any]] = []
        began = monotonic()
        attacker = threading.Thread(target=lambda: found.append(send(portal, "/api/store", body)))
        attacker.start()
        assert over_http(portal, "/api/echo", b"{}") == (200, "here")
        attacker.join(20)
        taken = monotonic() - began
    ((status, problem),) = found
    # the costly texts take what is left until the deadline
    assert status == 422 or (attack == "texts" and status == 504)
    assert len(json.dumps(problem)) < 3_000_000
    assert taken < 10


@pytest.mark.parametrize("pattern", ["(?=.*x)(?=.*y)z", r"(a*)\1b", "(?<!a)b"])
def test_a_function_whose_pattern_needs_backtracking_is_not_made(pattern: str) -> None:
    with pytest.raises(ConfigError, match="lookaround or backreferences"):
        function(name="store", input={"type": "object", "properties": {"a": {"pattern": pattern}}})(lambda a: a)


def test_the_portal_counts_what_exceeded_a_limit(send: Send) -> None:
    """By `stats()["validation"]`; the counters are of the process."""
    schema = {"properties": {"a": {"allOf": [{"pattern": f"^{letter}"} for letter in "abcdef"]}}}
    with HTTPPortal() as portal:
        portal.apply(function(name="store", input={"type": "object", **schema}, output={})(keep))
        before = portal.stats()["validation"]
        assert before == validation_stats()
        assert before.keys() == {"reports_ended", "patterns_ended", "schemas_rejected"}
        with pytest.raises(ConfigError, match="lookaround"):
            function(name="other", input={"type": "object", "properties": {"a": {"pattern": "(?=x)"}}})(keep)
        assert send(portal, "/api/store", b'{"a": "x"}')[0] == 422
        assert portal.stats()["validation"]["reports_ended"] == before["reports_ended"]
        status, problem = send(portal, "/api/store", json.dumps({"a": "x" * 500_000}).encode())
        assert status == 422
        assert problem["errors"][-1]["rule"] == "faults"
        assert portal.stats()["validation"]["reports_ended"] == before["reports_ended"] + 1
        assert portal.stats()["validation"] == validation_stats()
