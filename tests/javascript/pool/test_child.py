"""The program of a child, run in a thread of this process, without locking it down."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from portal.javascript import Limits
from portal.javascript.engines.quickjs import QuickJSEngine
from portal.javascript.pool import child as child_module
from portal.javascript.pool.child import load_engine, serve
from portal.javascript.pool.messages import pack, read_message
from tests.support.javascript import PATIENT, QUICKJS, program


class Peer:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, head: Any, body: str = "") -> None:
        self.connection.sendall(pack(head, body))

    def read(self) -> tuple[Any, str]:
        return read_message(self.connection.recv)


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    timers: list[float] = []
    monkeypatch.setattr(child_module.signal, "setitimer", lambda kind, seconds: timers.append(seconds))
    monkeypatch.setattr(child_module.gc, "freeze", lambda: None)
    mine, theirs = socket.socketpair()

    def run() -> None:
        with theirs, pytest.raises(EOFError):
            serve(theirs)

    thread = threading.Thread(target=run)
    thread.start()
    mine.settimeout(30.0)
    with mine:
        peer = Peer(mine)
        settings = {"engine": QUICKJS, "lock_down": False, "address_space": None, "data": None}
        peer.send(settings | {"threads": False, "forks": False, "limits": Limits.names(), "options": {}})
        assert peer.read()[0][0] == "ready"
        yield peer
    thread.join(30.0)
    assert timers.count(0) * 2 == len(timers)


def call(peer: Peer, source: str, text: str = "{}", limits: Limits = PATIENT) -> tuple[Any, str]:
    made = program(source)
    peer.send(["program", made.digest], made.to_json())
    peer.send(["call", made.digest, limits.to_list()], text)
    return peer.read()


def test_calls_and_errors(peer: Peer) -> None:
    assert call(peer, "p => p.a", '{"a": "\\u00e9"}') == (["ok"], '"é"')
    assert call(peer, "p => p.a", "") == (["ok"], "")
    head, _ = call(peer, "() => { throw new TypeError('no') }")
    assert (head[0], head[1]["stage"], head[1]["name"]) == ("error", "execute", "TypeError")
    head, _ = call(peer, "p => {")
    assert head[1]["stage"] == "syntax"


def test_requests_of_the_script(peer: Peer) -> None:
    assert call(peer, "() => { console.log('hi'); return 1 }") == (["log"], '["log","hi"]')
    assert peer.read() == (["ok"], "1")


def test_nothing_is_left_for_the_next_call(peer: Peer) -> None:
    assert call(peer, "() => { globalThis.left = 1; return 1 }")[1] == "1"
    assert call(peer, "() => typeof left")[1] == json.dumps("undefined")


def test_the_engine_is_named_by_module_and_class() -> None:
    assert load_engine(QUICKJS) is QuickJSEngine


def test_a_child_starts_with_few_imports() -> None:
    slow = {"dataclasses", "hashlib", "importlib.metadata", "inspect", "pickle", "portal.errors", "random", "socket"}
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "import portal.javascript.pool.child, portal.javascript.engines.quickjs\n"
        f"print(sorted({slow!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
