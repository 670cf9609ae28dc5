"""Portals whose functions run on a cluster by `executor=client.get_executor()`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal import (
    AuthorizationError,
    CallCancelled,
    CallContext,
    CallTimeout,
    Consumer,
    FunctionError,
    HTTPPortal,
    LocalPortal,
    ValidationError,
    function,
)
from portal.cluster.runner import ClusterRunner
from portal.errors import ConfigError, PortalError, SerializationError, TransportError
from portal.schema import File
from tests.support import cluster_functions as functions
from tests.support.dask_cluster import WAIT, quiet
from tests.support.fifos import read_fifo

pytestmark = quiet
WORKERS = 2


@pytest.fixture(scope="module")
def client(cluster: Any) -> Iterator[Any]:
    with cluster.get_client() as made:
        yield made


@pytest.fixture(scope="module")
def front(client: Any) -> Iterator[LocalPortal]:
    made = LocalPortal(executor=client.get_executor())
    yield made
    made.close()


@pytest.fixture(scope="module")
def consumer(front: LocalPortal) -> Iterator[Consumer]:
    with Consumer([front], timeout=WAIT) as made:
        yield made


def test_errors_and_the_context_are_those_of_every_portal(front: LocalPortal, consumer: Consumer) -> None:
    assert consumer.call_at(front.apply(functions.add), {"a": 1, "b": 2}) == 3.0
    with pytest.raises(AuthorizationError, match="not for you"):
        consumer.call_at(front.apply(functions.fail), {"kind": "portal"})
    with pytest.raises(FunctionError) as failed:
        consumer.call_at(front.apply(functions.fail), {"kind": "other"})
    assert failed.value.type == "LookupError"
    assert type(failed.value.__cause__) is LookupError
    with pytest.raises(ValidationError):
        consumer.call_at(front.apply(functions.add), {"a": "x", "b": 2})
    with CallContext(request_id="r1").active():
        assert consumer.call_at(front.apply(functions.ids_of), {"n": 1})[0] == "r1"


def test_equal_calls_each_run(front: LocalPortal, consumer: Consumer, tmp_path: Path) -> None:
    """Dask runs equal tasks once."""
    address = front.apply(functions.note)
    with ThreadPoolExecutor(4) as threads:
        context = CallContext(request_id="r1")
        calls = [
            threads.submit(consumer.call_at, address, {"path": str(tmp_path / "runs")}, context=context)
            for _ in range(8)
        ]
        assert {call.result(WAIT) for call in calls} == {None}
    assert functions.runs(str(tmp_path / "runs")) == 8


def test_a_worker_that_dies(front: LocalPortal, consumer: Consumer, tmp_path: Path) -> None:
    """Dask runs a task again whose worker has died, three times."""
    with pytest.raises(TransportError, match="the worker that ran die has died") as caught:
        consumer.call_at(front.apply(functions.die), {"path": str(tmp_path / "once")})
    assert caught.value.may_have_executed
    assert functions.runs(str(tmp_path / "once")) == 1
    assert consumer.call_at(front.apply(functions.die_first), {"path": str(tmp_path / "again")}) == 2


@pytest.mark.parametrize("how", ["deadline", "cancel"])
def test_a_call_that_nobody_waits_for(front: LocalPortal, consumer: Consumer, notes: Path, how: str) -> None:
    context, address = CallContext(), front.apply(functions.wait_until_cancelled)
    timeout = 10.0 if how == "deadline" else WAIT
    future = consumer.submit_at(address, {"path": str(notes), "wait": True}, context=context, timeout=timeout)
    assert read_fifo(Path(f"{notes}.started"), WAIT) == "started"
    if how == "cancel":
        context.cancel()
    with pytest.raises(CallCancelled if how == "cancel" else CallTimeout) as caught:
        future.result(WAIT)
    assert isinstance(caught.value, PortalError)
    assert caught.value.may_have_executed
    assert read_fifo(Path(f"{notes}.ended"), WAIT) == "cancelled"


def test_functions_and_classes_that_workers_cannot_import(front: LocalPortal, consumer: Consumer) -> None:
    @dataclass
    class Part:
        name: str
        tags: list[str] = field(default_factory=list)

    def rename(part: Part, suffix: str = "!") -> Part:
        assert isinstance(part, Part)
        return Part(part.name + suffix)

    rename.__annotations__ = {"part": Part, "suffix": str, "return": Part}  # as without `from __future__`
    found = consumer.call_at(front.apply(rename), {"part": {"name": "x"}})
    assert found == {"name": "x!", "tags": []}
    lock = threading.Lock()

    @function
    def locked() -> bool:
        return lock.locked()

    with pytest.raises(SerializationError, match="cannot be sent to the workers") as caught:
        consumer.call_at(front.apply(locked))
    assert not caught.value.may_have_executed


def test_files_of_an_http_portal(client: Any) -> None:
    with HTTPPortal("127.0.0.1", 0, executor=client.get_executor()) as front, Consumer(timeout=WAIT) as consumer:
        address = front.apply(functions.reverse_file)
        found = consumer.resolve(address).returning(File)(file=File(b"abc", name="a.txt"))
        assert (found.read(), found.name) == (b"cba", "a.txt")


def test_options_of_the_executor_apply(client: Any) -> None:
    worker = min(client.scheduler_info()["workers"])
    pids = client.run(os.getpid)
    front = LocalPortal(executor=client.get_executor(workers=[worker], pure=True))
    with Consumer([front], timeout=WAIT) as consumer:
        assert {consumer.call_at(front.apply(functions.pid)) for _ in range(4)} == {pids[worker]}
    front.close()


def test_an_executor_that_is_shut_down(client: Any) -> None:
    executor = client.get_executor()
    front = LocalPortal(executor=executor)
    executor.shutdown()
    with Consumer([front], timeout=WAIT) as consumer, pytest.raises(TransportError, match="is shut down") as caught:
        consumer.call_at(front.apply(functions.pid))
    assert not caught.value.may_have_executed
    front.close()


def test_another_executor_is_rejected() -> None:
    with pytest.raises(ConfigError):
        ClusterRunner(object())
