"""While 200 clients attack, another client's calls are served; afterwards memory and descriptors are back."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import Any

import pytest

from .attackers import KINDS

MIB = 1024 * 1024
TOGETHER = ("slow_reader", "sleeper", "half_body", "gzip_bomb", "long_method")
#: What the server may do with a request of an attack. Some are legal; the rest is rejected by the right status.
EXPECTED = {
    "slow_reader": {"200", "cut", "503"},
    "sleeper": {"504", "503", "429"},
    "idle_connections": {"held", "cut"},
    "half_body": {"held", "cut", "503", "408"},
    "gzip_bomb": {"413", "400", "422", "503"},
    "long_method": {"200", "413", "503"},
    "queue_filler": {"200", "504", "503", "429"},
    "deep_batch": {"200", "503", "504"},
    "key_filler": {"200", "429", "503"},
    "path_variants": {"404", "400"},
    "foreign_host": {"421"},
    "costly_report": {"422", "503", "504"},
    "unknown_key": {"401", "503"},
    "password_guess": {"401", "503"},
    "hostile_schema": {"500", "503", "504"},
    "other_namespace": {"200", "503"},
    "shared_key": {"200", "503"},
    "no_guess": {"401", "503"},
}


class Victim:
    """A client that calls a function which takes 10 ms, over and over; in its own thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._end = threading.Event()
        self.times: list[float] = []
        self.failures: list[object] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Victim:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join(60.0)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30.0)
        while not self._end.wait(0.005):
            began = perf_counter()
            try:
                connection.request("POST", "/api/query", "{}")
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    self.failures.append(response.status)
            except OSError as error:
                self.failures.append(type(error).__name__)
                connection.close()
            self.times.append(perf_counter() - began)
        connection.close()

    def p99(self) -> float:
        times = sorted(self.times)
        return times[len(times) * 99 // 100]


def measure(port: int, seconds: float) -> Victim:
    """Call for some time without an attack."""
    with Victim(port) as victim:
        threading.Event().wait(seconds)
    return victim


@pytest.mark.parametrize(
    ("kinds", "clients", "seconds"),
    [
        pytest.param(TOGETHER, 10, 2.0, id="small"),
        pytest.param(tuple(kind for kind in KINDS if kind not in TOGETHER), 26, 2.0, id="small-others"),
        pytest.param(TOGETHER, 200, 60.0, id="long-together"),
        *(pytest.param((kind,), 200, 15.0, id=f"long-{kind}") for kind in KINDS),
    ],
)
def test_an_attack_does_not_stop_others(
    run: Callable[..., Any], kinds: tuple[str, ...], clients: int, seconds: float
) -> None:
    times = {"write_timeout": 2.0, "response_timeout": 20.0, "body_timeout": 3.0, "idle_timeout": 3.0, "max_wait": 3.0}
    config = {"workers": 16, **times}
    server = run("attacked_server.py", config=config)
    port = server.read()
    quiet = measure(port, min(seconds, 5.0))
    assert quiet.failures == []
    before = server.request()
    attackers = run("attackers.py", port=port, kinds=kinds, clients=clients, seconds=seconds, pause=0.2)
    with Victim(port) as victim:
        outcomes = attackers.read()
    peak = server.request()
    attackers.close()
    assert {outcome.split(" ", 1)[0] for outcome in outcomes} == set(kinds)
    wrong = {outcome for outcome in outcomes if outcome.split(" ", 1)[1] not in EXPECTED[outcome.split(" ", 1)[0]]}
    after = settled(server, before)
    print(kinds, f"p99 {quiet.p99() * 1000:.1f} -> {victim.p99() * 1000:.1f} ms", outcomes, victim.failures[:5])
    print("MiB", [one["rss"] // MIB for one in (before, peak, after)], "files", before["files"], after["files"])
    assert wrong == set()
    assert victim.failures == []
    assert after["files"] <= before["files"] + 5
    assert after["rss"] <= before["rss"] + 60 * MIB
    if seconds >= 10.0:  # a ratio of few calls says nothing
        assert victim.p99() <= 3 * quiet.p99()


def settled(server: Any, before: dict[str, Any]) -> dict[str, Any]:
    """Return the figures as soon as the connections of the attack are gone, or after a minute."""
    end = monotonic() + 60.0
    while True:
        found: dict[str, Any] = server.request()
        if found["files"] <= before["files"] + 5 or monotonic() > end:
            return found
        threading.Event().wait(0.2)
