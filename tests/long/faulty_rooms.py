"""Servers and clients of every kind in one process, with faults inside its threads by seed.

    python faulty_rooms.py '{"seed": 7, "seconds": 3.0, "directory": "/tmp/x"}'

It prints what was called, what was lost, and what is left, as a line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from time import monotonic
from typing import Any

from tests.support.inside_faults import Faults

#: Classes by module, with the methods that are left out: they run in other threads than those of the package.
CLASSES: dict[str, dict[str, set[str]]] = {
    "_internal.background": {"BackgroundLoop": {"after_fork", "stop"}},
    "websocket.server.call_session": {"CallSession": set()},
    "websocket.server.calls": {"Calls": set()},
    "websocket.server.connection": {"ServerConnection": set()},
    "websocket.server.connections": {"Connections": set()},
    "websocket.server.outbox": {"Outbox": set()},
    "websocket.server.running": {"StreamWork": set()},
    "websocket.server.transport": {"Transport": set()},
    "websocket.frame_queue": {"FrameQueue": set()},
    "websocket.output": {"Output": {"send", "flush", "wait_for_room"}},
    "websocket.topics.topic": {"Topic": set()},
    "websocket.topics.subscription": {"Subscription": set()},
    "websocket.client.delivery": {"_Delivery": set()},
    "websocket.client.dialer": {"Dialer": set()},
    "websocket.client.link": {"Link": set()},
    "websocket.client.reader": {"Reader": {"after_fork", "in_thread", "call_at", "call_soon"}, "Timer": set()},
    "websocket.client.served": {"LinkPeer": set(), "ServedFunctions": set()},
    "websocket.client.transport": {"Transport": set()},
    "directory.polled": {"PolledDirectory": {"after_fork"}},
    "directory.registration": {"Registration": {"after_fork"}},
    "directory.sqlite": {"SQLiteStore": set()},
    "processes.pool": {"ProcessPool": {"after_fork"}, "_Running": set()},
    "processes.process": {"WorkerProcess": set()},
    "javascript.pool.children": {"ChildPool": {"after_fork", "_reset"}},
    "javascript.pool.process": {"ChildProcess": set()},
}
#: What puts something back is tried twice. It does not raise here, where others raise at the same time: nobody could
#: put that back then. In `test_each_step_of_others_raises.py` and beside it, it raises once.
UNDO = {
    *("lost", "close", "abort", "drop", "remove", "abandon", "cancel", "kill", "reject", "_end", "fail", "_leave"),
    *("on_lost", "on_detached", "on_failure", "detach", "_close_unless_in_use", "_fail", "_failed", "_recover"),
    *("_give_back", "_give_up", "_discard", "end", "forget", "give_up", "wake", "hand_over", "slow", "completed"),
    *("cut", "refuse", "_cancel", "ending", "farewell", "refused", "respond", "_change", "_start_or_wake"),
    *("_after_a_call", "unsubscribe", "fail_all", "_abort", "_withdraw"),
}
SETTINGS = json.loads(sys.argv[1]) if __name__ == "__main__" else {}
LOST = float(SETTINGS.get("lost", 300.0))  # seconds after which a call without a response is lost
WAIT = float(SETTINGS.get("wait", 900.0))
faults = Faults(SETTINGS.get("seed", 0), UNDO, CLASSES)
if __name__ == "__main__":
    faults.install()

from portal import Consumer, HTTPPortal, JavaScriptPortal, JSFunction, WebSocketPortal, function  # noqa: E402
from portal.directory import Registration, open_directory  # noqa: E402
from portal.errors import CallTimeout, PortalError  # noqa: E402
from portal.javascript import PoolSettings, Sandbox  # noqa: E402
from portal.processes import ProcessPool  # noqa: E402
from portal.serving import ServingConfig  # noqa: E402
from portal.websocket import Reconnect, WebSocketClient, WebSocketResolver  # noqa: E402
from tests.support import placed_functions  # noqa: E402

POOL = ProcessPool(2)
_executed: Counter[int] = Counter()
_lock = threading.Lock()


def note(number: int) -> int:
    """Count a call that must not be executed twice."""
    with _lock:
        _executed[number] += 1
    return number


@function
def items(number: int) -> Iterator[int]:
    """Send some items."""
    for one in range(20):
        threading.Event().wait(0.001)
        yield number + one


class Rooms:
    """A server of each kind, and what calls it.

    Args:
        directory: a folder for files.
        stack: closes everything.
    """

    def __init__(self, directory: str, stack: ExitStack) -> None:
        store = f"sqlite:///{directory}/directory.sqlite"
        pool = PoolSettings(min_size=1, max_size=2, max_uses=40)
        self.javascript = stack.enter_context(JavaScriptPortal(sandbox=Sandbox(isolation="process", pool=pool)))
        script = self.javascript.apply(JSFunction("function doubled({number}) { return 2 * number }", "doubled"))
        config = ServingConfig(workers=8, max_running_per_function=8, max_running_per_client=8)
        self.http = HTTPPortal(name="rooms", directory=Registration(store, lease=2.0), config=config)
        self.ws = WebSocketPortal(listener=self.http.listener, name="rooms")
        self.topic = self.ws.topic("ticks", item=int)
        in_process = function(name="in_process", executor=POOL)(placed_functions.same)
        for one in (in_process, function(name="note")(note), function(name="publish")(self._publish)):
            self.http.apply(one)
        self.http.apply(self.javascript.resolve_function(script))
        for each in (function(name="note")(note), items):
            self.ws.apply(each)
        stack.enter_context(self.http)
        stack.enter_context(self.ws)
        self.base, self.ws_base = str(self.http.base), str(self.ws.base)
        self._directory = open_directory(store)
        functions = [function(name="echo")(lambda number: number)]
        client = WebSocketClient(functions=functions, reconnect=Reconnect(initial_backoff=0.01, max_backoff=0.05))
        self._calls = stack.enter_context(Consumer([WebSocketResolver(client)]))
        self._named = stack.enter_context(Consumer(directory=self._directory))
        self.kinds: tuple[Callable[[int], None], ...] = (
            *(self.websocket, self.stream, self.back, self.process, self.script, self.by_name, self.event),
        )

    def _publish(self, number: int) -> int:
        self.topic.publish(number)
        return number

    def websocket(self, number: int) -> None:
        """Call over a WebSocket."""
        assert self._calls.call_at(f"{self.ws_base}/note", {"number": number}, timeout=LOST) == number

    def stream(self, number: int) -> None:
        """Read a stream over a WebSocket."""
        found = list(self._calls.stream_at(f"{self.ws_base}/items", {"number": number}, timeout=LOST))
        assert found == list(range(number, number + 20))

    def back(self, number: int) -> None:
        """Let the server call its client."""
        for one in self.ws.list_clients():
            assert self.ws.call_client(one["id"], "echo", {"number": number}, timeout=LOST).result(2 * LOST) == number

    def process(self, number: int) -> None:
        """Call a function that runs in a process of its own."""
        assert self._named.call_at(f"{self.base}/in_process", {"number": number}, timeout=LOST) == number

    def script(self, number: int) -> None:
        """Call a function in JavaScript."""
        assert self._named.call_at(f"{self.base}/doubled", {"number": number}, timeout=LOST) == 2 * number

    def by_name(self, number: int) -> None:
        """Call through the directory."""
        assert self._named.call("note", {"number": number}, timeout=LOST) == number

    def event(self, number: int) -> None:
        """Subscribe, publish, and receive the event."""
        with self._calls.subscribe(f"{self.ws_base}/ticks") as subscription:
            self._named.call_at(f"{self.base}/publish", {"number": number}, timeout=LOST)
            while subscription.next(LOST).data != number:
                pass

    def left(self) -> dict[str, Any]:
        """Return what is claimed now, without a call."""
        listener, pool = self.http.listener.stats(), POOL.stats()
        (scripts,) = self.javascript.stats()["engines"].values()
        clients = self.ws.list_clients()
        return {
            "active": listener["active"],
            "unfinished": listener["unfinished"],
            "streams": listener["streams"],
            "output": listener["output_buffered"],
            "running": self.http.stats()["running"] + self.ws.stats()["running"],
            "websocket calls": sum(one["running"] for one in clients),
            "subscriptions": sum(one["subscriptions"] for one in clients),
            "processes": pool["processes"] - pool["idle"] + pool["waiting"] + len(POOL._starting),
            "scripts": scripts["children"] - scripts["idle"] + scripts["waiting"],
            "failing": self.http.listener.failing,
            "not ready": not self.http.listener.ready,
        }


class Clients:
    """Threads that call every kind until they are told to stop."""

    def __init__(self, rooms: Rooms, threads: int) -> None:
        self.calls = 0
        self.errors: Counter[str] = Counter()
        self.lost: list[tuple[str, float]] = []  # with the moment of its begin
        self._rooms = rooms
        self._numbers = count(1)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            number = next(self._numbers)
            self.call(self._rooms.kinds[number % len(self._rooms.kinds)], number)

    def call(self, kind: Callable[[int], None], number: int) -> bool:
        """Make one call and return whether it succeeded."""
        began = monotonic()
        try:
            kind(number)
        except (PortalError, TimeoutError) as error:
            with _lock:
                self.errors[f"{kind.__name__} {type(error).__name__}"] += 1
                if isinstance(error, CallTimeout | TimeoutError):
                    self.lost.append((f"{kind.__name__} {number}: {error}", began))
            return False
        finally:
            with _lock:
                self.calls += 1
        return True

    def go_on(self, kind: Callable[[int], None]) -> bool:
        """Return whether calls of a kind succeed, ten of them in a row, within some time."""
        end = monotonic() + WAIT
        in_a_row = 0
        while in_a_row < 10 and monotonic() < end:
            in_a_row = in_a_row + 1 if self.call(kind, next(self._numbers)) else 0
        return in_a_row == 10

    def close(self) -> list[str]:
        """Stop. Return the threads that hang."""
        self._over.set()
        for thread in self._threads:
            thread.join(WAIT)
        return [thread.name for thread in self._threads if thread.is_alive()]


def settled(rooms: Rooms) -> dict[str, Any]:
    """Return what is left as soon as nothing is, or after some time."""
    end = monotonic() + WAIT
    while any((found := rooms.left()).values()) and monotonic() < end:
        threading.Event().wait(0.05)
    return {name: value for name, value in found.items() if value}


def main() -> None:
    """Run the servers, the clients and the faults, and print the outcome."""
    logging.disable(logging.CRITICAL if "PORTAL_FAULT_LOG" not in os.environ else logging.NOTSET)
    with ExitStack() as stack:
        rooms = Rooms(SETTINGS["directory"], stack)
        stack.callback(POOL.close)
        for number, kind in enumerate(rooms.kinds, 1):  # so that there are processes, children and connections
            kind(-number)
        clients = Clients(rooms, SETTINGS["threads"])
        faults.run(SETTINGS["seconds"], together=10)
        hanging = clients.close()
        during = dict(clients.errors)
        stopped = [kind.__name__ for kind in rooms.kinds if not clients.go_on(kind)]
        found = {
            "calls": clients.calls,
            "errors": during,
            "fired": dict(faults.fired),
            "lost": clients.lost,
            "order": [list(row) for row in faults.order],
            "hanging": hanging,
            "stopped": stopped,
            "twice": [number for number, times in _executed.items() if times > 1],
            "left": settled(rooms),
        }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
