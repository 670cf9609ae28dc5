from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from portal.javascript import EngineError, Limits
from portal.javascript.engines.driver import Realm, call_realm, error_of, place_of
from tests.support.javascript import PATIENT, RecordingHost, no_host


class ScriptedRealm(Realm):
    """Gives the replies of a list, and says what was sent."""

    def __init__(self, replies: Iterable[str], jobs: int = 0) -> None:
        self.replies = list(replies)
        self.jobs = jobs
        self.sent: list[tuple[str, str]] = []

    def evaluate(self, source: str, seconds: float) -> None: ...

    def send(self, op: str, text: str, seconds: float) -> str:
        self.sent.append((op, text))
        return self.replies.pop(0)

    def run_job(self, seconds: float) -> bool:
        self.jobs -= 1
        return self.jobs >= 0

    def require_memory(self, limits: Limits) -> None: ...


def test_requests_go_to_the_host_and_their_results_back() -> None:
    outbox = json.dumps([[0, "log", "l"], [7, "call", '{"a":1}']])
    realm = ScriptedRealm(["~?", outbox, "", "5"], jobs=1)
    host = RecordingHost()
    assert call_realm(realm, "{}", PATIENT, host) == "5"
    assert host.requests == [("log", "l"), ("call", '{"a":1}')]
    assert realm.sent[2] == ("resolve", json.dumps([7, True, '{"a":1}']))


def test_a_failure_of_the_host_rejects_the_promise() -> None:
    realm = ScriptedRealm(["~?", '[[1, "call", "{}"]]', "", "5"], jobs=1)
    assert call_realm(realm, "{}", PATIENT, no_host) == "5"
    assert json.loads(realm.sent[2][1])[1] is False


def test_a_promise_that_nothing_can_settle_is_an_error() -> None:
    with pytest.raises(EngineError, match="never settle"):
        call_realm(ScriptedRealm(["?", "?"]), "{}", PATIENT, no_host)


def test_the_time_is_that_of_the_whole_call() -> None:
    realm = ScriptedRealm(["?"] * 100_000, jobs=10**9)
    with pytest.raises(EngineError) as caught:
        call_realm(realm, "{}", Limits(time=0.05, jobs=10**9), no_host)
    assert caught.value.stage == "timeout"


def test_frames_of_the_prelude_are_cut_and_lines_are_those_of_the_user() -> None:
    stack = "at f (<input>:3:9)\nat __portal_invoke__ (<input>:9:9)\nat <anonymous> (<input>:1:1)\n"
    assert place_of(stack, 1) == ("at f (<input>:2:9)", 2, 9)
    assert place_of("at <input>:1:5", 0) == ("at <input>:1:5", 1, 5)
    assert place_of("at stringify (native)", 0) == ("at stringify (native)", None, None)
    assert place_of("", 0) == ("", None, None)


def test_an_error_without_a_stack() -> None:
    error = error_of('{"stage": "convert", "name": "Error", "message": "m", "stack": null}', 0)
    assert (error.stage, error.line, error.stack) == ("convert", None, "")
