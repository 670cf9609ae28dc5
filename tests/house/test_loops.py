"""What runs in the background survives its own faults: every thread is guarded, and log lines raise nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from .test_rooms import MODULES

#: The functions of the standard library that only these modules may call.
ONLY_IN = {
    "logging.getLogger": {"_internal.log"},
    "threading.Thread": {"_internal.background"},
}
#: Other ways to start a thread, which no module may use.
NOWHERE = {
    "threading.Timer",
    "concurrent.futures.ThreadPoolExecutor",
    "_thread.start_new_thread",
    "multiprocessing.pool.ThreadPool",
    "socketserver.ThreadingMixIn",
}
#: Every thread of the package by the name of its module: what it runs, and what happens to it after an exception.
THREADS = {
    ("serving.loop.leader", "BackgroundLoop"): "watches the reactor's leader; goes on",
    ("serving.loop.leader", "start_thread"): "leads the reactor's loop; goes on or is replaced by the watching thread",
    ("_internal.executor", "start_thread"): "runs jobs; goes on, is replaced, and the job's future has the error",
    ("processes.child", "start_thread"): "waits for the end of the parent; an exception ends the process",
    ("processes.pool", "start_thread"): "starts a worker process; its error is logged, and a caller that waits gets it",
    ("cache.invalidations", "BackgroundLoop"): "reads the invalidations of other processes; goes on, with empty caches",
    ("cluster.loop", "start_thread"): "runs the event loop of a Dask client; asyncio keeps what its callbacks raise",
    ("cluster.publication", "BackgroundLoop"): "publishes at a scheduler that has restarted; goes on",
    ("directory.polled", "BackgroundLoop"): "reads a directory again; goes on",
    ("directory.registration", "BackgroundLoop"): "renews the lease of a portal; goes on",
    ("calls.deadlines", "BackgroundLoop"): "responds at deadlines; goes on",
    ("idempotency.shared", "BackgroundLoop"): "renews leases; goes on",
    ("http.middleware.gathered_file", "BackgroundLoop"): "writes the request log; goes on",
    ("websocket.client.reader", "BackgroundLoop"): "reads the connections of clients; goes on",
    ("websocket.topics.redis_store", "BackgroundLoop"): "receives events of topics from Redis; goes on",
    ("javascript.folder", "BackgroundLoop"): "follows the edits of a folder; goes on",
    ("javascript.pool.children", "BackgroundLoop"): "replaces child processes; goes on",
    ("javascript.engines.wasm.watchdog", "BackgroundLoop"): "ends WebAssembly at its time limit; goes on",
    ("websocket.server.running", "run_apart"): "closes a stream that is not sent on; its error is logged",
    ("websocket.server.connections", "run_apart"): "runs a hook of the application; its error is logged",
    ("serving.gunicorn", "start_thread"): "stops the portal while the worker sends heartbeats; its error is logged",
    ("testing.server_processes", "start_thread"): "kills a server that does not start",
    ("testing.fault_proxy", "start_thread"): "serves a connection of the proxy; its error is logged",
    ("testing.faulty_connection", "start_thread"): "passes responses on; its error is logged",
}


def calls_of(name: str) -> Iterator[tuple[str, int]]:
    """Every dotted name that a module calls or imports from its module, with its line."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for one in node.names:
                yield f"{node.module}.{one.name}", node.lineno


#: They have a lock that the handler of a signal can leave held; `_internal.conditions` has others.
LEFT_LOCKED = {
    "threading.Condition",
    "threading.Event",
    "threading.Semaphore",
    "threading.BoundedSemaphore",
    "threading.Barrier",
    "queue.Queue",
    "asyncio.run_coroutine_threadsafe",
    "Future",
}


@pytest.mark.parametrize("name", sorted(name for name in MODULES if not name.startswith("examples.")))
def test_what_waits_survives_the_handlers_of_signals(name: str) -> None:
    found = [f"{MODULES[name]}:{line}: {called}" for called, line in calls_of(name) if called in LEFT_LOCKED]
    assert found == [], "use Condition, Event or PoolFuture of _internal.conditions"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_use_the_guarded_form(name: str) -> None:
    found = [
        f"{MODULES[name]}:{line}: {called}"
        for called, line in calls_of(name)
        if called in NOWHERE or (called in ONLY_IN and name not in ONLY_IN[called])
    ]
    assert found == []


def test_the_rule_finds_calls() -> None:
    for called, modules in ONLY_IN.items():
        for name in modules:
            assert called in {found for found, _ in calls_of(name)}, name


def test_every_thread_is_listed_with_what_becomes_of_it() -> None:
    started = {
        (name, called)
        for name in MODULES
        if name != "_internal.background"
        for called, _ in calls_of(name)
        if called in ("BackgroundLoop", "run_apart", "start_thread")
    }
    assert started == THREADS.keys(), "list it in THREADS, with what becomes of it after an exception"


def test_what_a_thread_runs_is_guarded() -> None:
    """A thread that is no loop logs its error, or catches everything itself."""
    for name, called in THREADS:
        if called == "start_thread":
            source = MODULES[name].read_text()
            assert "logging_errors" in source or "except BaseException" in source, name
