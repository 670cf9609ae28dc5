"""DaskPortal: functions on the workers of a real cluster."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from portal import (
    AuthorizationError,
    CallCancelled,
    CallContext,
    CallTimeout,
    ConfigError,
    Consumer,
    FunctionError,
    Identity,
    LocalPortal,
    RegistryError,
    Service,
    ValidationError,
    function,
)
from portal.calls.middleware import Call, CallNext
from portal.cluster import DaskPortal, DaskResolver
from portal.cluster.connection import ClusterConnection
from portal.cluster.mapping import Progress
from portal.cluster.publication import Publication
from portal.errors import PortalError, TransportError
from tests.support import cluster_functions as functions
from tests.support.dask_cluster import WAIT, quiet
from tests.support.fifos import read_fifo
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = quiet
WORKERS = 2


def test_a_call_runs_on_a_worker(portal: DaskPortal, consumer: Consumer) -> None:
    address = portal.apply(functions.add)
    assert str(address).startswith("dask://127.0.0.1:")
    assert address.segments == ("add", functions.add.schema.fingerprint)
    assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
    assert consumer.call_at(str(address).rpartition("/")[0], {"a": 1, "b": 2}) == 3.0
    assert consumer.resolve(address)(a=1, b=2) == 3.0
    assert consumer.call_at(portal.apply(functions.pid)) != os.getpid()
    assert str(address) in [row["address"] for row in consumer.list_at(f"dask://{address.authority}")["functions"]]


def test_errors_are_those_of_every_portal(portal: DaskPortal, consumer: Consumer) -> None:
    add, fail = portal.apply(functions.add), portal.apply(functions.fail)
    with pytest.raises(ValidationError):
        consumer.call_at(add, {"a": "x", "b": 2})
    with pytest.raises(AuthorizationError, match="not for you") as denied:
        consumer.call_at(fail, {"kind": "portal"})
    assert denied.value.executed
    assert denied.value.hint == "ask ann"
    with pytest.raises(FunctionError) as failed:
        consumer.call_at(fail, {"kind": "other"})
    assert failed.value.type == "LookupError"
    assert failed.value.executed
    with pytest.raises(RegistryError, match="no function is published"):
        consumer.call_at(f"dask://{add.authority}/unknown")


def test_the_context_arrives(portal: DaskPortal, consumer: Consumer) -> None:
    outer = CallContext(request_id="r1", identity=Identity("ann"), baggage={"shop": "7"})
    found = consumer.call_at(portal.apply(functions.context_of), context=outer)
    assert found == {"request_id": "r1", "identity": "ann", "baggage": {"shop": "7"}, "left": True}


def test_10000_calls_take_few_tasks(portal: DaskPortal) -> None:
    address = portal.apply(functions.square)
    seen: list[Progress] = []
    found = list(portal.map_at(address, ({"n": number} for number in range(10_000)), progress=seen.append))
    assert found == [number * number for number in range(10_000)]
    assert seen[-1] == Progress(10_000, 10_000, 0)
    assert len(seen) < 1_000
    assert all(one.done <= one.sent for one in seen)


def test_a_map_with_failures(portal: DaskPortal) -> None:
    address = portal.apply(functions.fail)
    kinds = [{"kind": kind} for kind in ("portal", "other", "portal")]
    found = list(portal.map_at(address, kinds, chunk=2, return_exceptions=True))
    assert [type(one) for one in found] == [AuthorizationError, FunctionError, AuthorizationError]
    with pytest.raises(AuthorizationError):
        list(portal.map_at(address, kinds, chunk=2))
    with pytest.raises(ValidationError):
        list(portal.map_at(address, [{"kind": 5}]))


def test_a_future_of_a_call(portal: DaskPortal) -> None:
    address = portal.apply(functions.add)
    assert portal.submit_at(address, {"a": 1, "b": 2}, timeout=WAIT).result(WAIT) == 3.0
    assert portal.stats()["functions"] > 0


def test_a_late_and_a_cancelled_call(portal: DaskPortal, consumer: Consumer, tmp_path: Path) -> None:
    """The caller gets its error while the function blocks on the worker."""
    address = portal.apply(functions.block)
    for number, cancelled in enumerate((False, True)):
        path = tmp_path / f"fifo{number}"
        for name in (path, Path(f"{path}.end")):
            os.mkfifo(name)
        context = CallContext()
        future = consumer.submit_at(address, {"path": str(path)}, context=context, timeout=WAIT if cancelled else 20.0)
        assert read_fifo(path) == "started"
        if cancelled:
            context.cancel()
        with pytest.raises(CallCancelled if cancelled else CallTimeout) as caught:
            future.result(WAIT)
        Path(f"{path}.end").write_text("end")
        assert isinstance(caught.value, PortalError)
        assert caught.value.may_have_executed


def test_any_portal_may_run_its_functions_on_the_cluster(cluster: Any) -> None:
    with cluster.get_client() as client:
        front = LocalPortal(executor=client.get_executor())
        address = front.apply(functions.pid)
        found = {Consumer([front]).call_at(address, timeout=WAIT) for _ in range(2)}
        assert os.getpid() not in found
        with pytest.raises(AuthorizationError):
            Consumer([front]).call_at(front.apply(functions.fail), {"kind": "portal"})
        front.close()


def test_functions_that_workers_cannot_import(portal: DaskPortal, consumer: Consumer) -> None:
    factor = 3

    @function
    def scale(n: int) -> int:
        return n * factor

    assert consumer.call_at(portal.apply(scale), {"n": 5}) == 15

    @function
    def stream() -> Iterator[int]:
        yield 1

    with pytest.raises(ConfigError, match="stream"):
        portal.apply(stream)


def test_a_portal_withdraws_what_it_published(cluster: Any) -> None:
    portal = DaskPortal(cluster.scheduler_address, name="other")
    address = portal.apply(function(name="gone")(functions.add.target))
    resolver = DaskResolver()
    with pytest.raises(RegistryError):
        resolver.resolve_function(address)
    assert not portal.accepting
    portal.start()
    assert resolver.resolve_function(address).schema.name == "gone"
    portal.remove(address)
    portal.close()
    with pytest.raises(RegistryError):
        DaskResolver().resolve_function(address)
    resolver.close()


def test_a_scheduler_that_has_forgotten_what_was_published(
    cluster: Any, portal: DaskPortal, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Publication, "_check", lambda _: None)  # its thread would publish again within two seconds
    with DaskPortal(cluster.scheduler_address, name="forgotten") as other:
        address = other.apply(functions.square)
        assert consumer.call_at(address, {"n": 2}) == 4
        cluster.scheduler.plugins["portal-functions"].clear()  # as after its restart
        assert consumer.call_at(address, {"n": 3}) == 9
        with pytest.raises(RegistryError):
            DaskResolver().resolve_function(address)
        other.publish_again()
        assert DaskResolver().resolve_function(address).schema.name == "square"
    portal.publish_again()  # for the other tests


def test_a_scheduler_that_cannot_be_reached() -> None:
    pytest.importorskip("distributed", reason="the package distributed is not installed")
    with Consumer(timeout=5.0) as consumer, pytest.raises(TransportError) as caught:
        consumer.call_at(f"dask://127.0.0.1:{free_port()}/add", {"a": 1, "b": 2}, timeout=2.0)
    assert caught.value.delivery == "not_sent"


def test_map_at_of_a_consumer_takes_few_tasks(
    portal: DaskPortal, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, tasks = ClusterConnection.submit, count()

    def counted(*args: Any, **options: Any) -> Any:
        next(tasks)
        return submit(*args, **options)

    monkeypatch.setattr(ClusterConnection, "submit", counted)
    address = portal.apply(functions.square)
    calls = ({"n": number} for number in range(2_000))
    assert list(consumer.map_at(address, calls, timeout=WAIT)) == [number * number for number in range(2_000)]
    assert next(tasks) < 500
    found = list(consumer.map_at(address, [{"n": 2}, {"n": "x"}, {"n": 3}], return_exceptions=True, timeout=WAIT))
    assert [found[0], type(found[1]), found[2]] == [4, ValidationError, 9]


def test_the_cause_of_an_error_has_its_traceback(portal: DaskPortal, consumer: Consumer) -> None:
    with pytest.raises(FunctionError) as failed:
        consumer.call_at(portal.apply(functions.fail), {"kind": "other"})
    cause = failed.value.__cause__
    assert type(cause) is LookupError
    assert "fail" in [frame.name for frame in traceback.extract_tb(cause.__traceback__)]


def test_a_version_that_is_removed_leaves_the_other(cluster: Any, consumer: Consumer) -> None:
    with DaskPortal(cluster.scheduler_address, name="versions") as portal:
        one, two = (
            portal.apply(function(name="both", version=version)(functions.square.target)) for version in ("1", "2")
        )
        short = str(one).rpartition("/")[0]
        portal.remove(two)
        assert consumer.call_at(short, {"n": 3}) == 9
        portal.remove(one)
        with pytest.raises(RegistryError):
            DaskResolver().resolve_function(short)


def test_a_service_runs_on_the_cluster(cluster: Any, consumer: Consumer) -> None:
    with DaskPortal(cluster.scheduler_address, name="services") as portal:
        address = portal.apply_service(Service("numbers", [functions.square, functions.add]))
        assert consumer.call_at(f"{address}/square", {"n": 3}) == 9
        portal.remove(address)
        with pytest.raises(RegistryError):
            DaskResolver().resolve_function(f"{address}/square")


def test_functions_on_a_cluster_are_called_by_name(cluster: Any) -> None:
    """Middleware of the caller runs around each call, as at every address."""
    seen: list[str] = []

    def note(call: Call, call_next: CallNext) -> Any:
        seen.append(call.context.request_id)
        return call_next(call)

    url = "memory://test-dask-directory"
    with (
        DaskPortal(cluster.scheduler_address, name="named", directory=url) as portal,
        Consumer(directory=url, middleware=[note], timeout=WAIT) as consumer,
    ):
        address = portal.apply(function(name="named")(functions.square.target))
        eventually(lambda: bool(consumer._directory.instances("named")), WAIT)  # type: ignore[union-attr]
        assert consumer.call("named", {"n": 4}) == 16
        assert list(consumer.map_at(address, [{"n": 1}, {"n": 2}])) == [1, 4]
        assert len(set(seen)) == 3
        portal.stop()
        eventually(lambda: not consumer._directory.instances("named"), WAIT)  # type: ignore[union-attr]


def test_each_call_of_a_map_has_its_request_id(portal: DaskPortal, consumer: Consumer) -> None:
    """As at every address: an id and a trace for each call, or those of the call around them."""
    address = portal.apply(functions.ids_of)
    params = [{"n": n} for n in (1, 7, "x", 2)]
    for map_at in (portal.map_at, consumer.map_at):
        one, failed, rejected, two = map_at(address, params, return_exceptions=True, timeout=WAIT)
        assert isinstance(failed, FunctionError)
        assert isinstance(rejected, ValidationError)
        assert len({one[0], two[0], failed.request_id, rejected.request_id} - {None}) == 4
        assert one[1].split("-")[1] != two[1].split("-")[1]
        with CallContext(request_id="r1").active():
            one, failed, rejected, two = map_at(address, params, return_exceptions=True, timeout=WAIT)
        assert {one[0], two[0], failed.request_id, rejected.request_id} == {"r1"}
        assert one[1].split("-")[1] == two[1].split("-")[1]
        assert one[1] != two[1]


def test_large_parameters_are_sent_in_more_tasks(portal: DaskPortal) -> None:
    address = portal.apply(functions.length_of)
    seen: list[Progress] = []
    texts = ({"text": "x" * (1 << 20)} for _ in range(12))
    assert list(portal.map_at(address, texts, chunk=12, progress=seen.append)) == [1 << 20] * 12
    assert [one.done for one in seen] == [3, 6, 9, 12]


def test_a_portal_that_stops_leaves_the_functions_of_another(cluster: Any) -> None:
    one, two = (DaskPortal(cluster.scheduler_address, name=name) for name in ("one", "two"))
    with one:
        address = one.apply(function(name="shared")(functions.square.target))
        with two:
            assert two.apply(function(name="shared")(functions.square.target)) == address
        for path in (address, str(address).rpartition("/")[0]):
            with closing(DaskResolver()) as resolver:
                assert resolver.resolve_function(path).schema.name == "shared"


def outcome_of(consumer: Consumer, address: str) -> Any:
    try:
        return consumer.call_at(address, {"n": 3})
    except PortalError as error:
        return error


def test_a_function_that_is_replaced_or_removed_is_not_called(cluster: Any, consumer: Consumer) -> None:
    @function(name="changing")
    def cube(n: int) -> int:
        return n * n * n

    with DaskPortal(cluster.scheduler_address, name="changing") as portal:
        address = portal.apply(function(name="changing")(functions.square.target))
        short = str(address).rpartition("/")[0]
        kept = consumer.resolve(short)
        assert [outcome_of(consumer, short), outcome_of(consumer, str(address)), kept(n=3)] == [9, 9, 9]
        portal.remove(address)
        portal.apply(cube)
        eventually(lambda: outcome_of(consumer, short) == 27, 10.0)
        assert kept(n=3) == 27
        portal.remove(short)
        for path in (short, str(address)):
            eventually(lambda path=path: isinstance(outcome_of(consumer, path), RegistryError), 10.0)  # type: ignore[misc]
            with pytest.raises(RegistryError) as removed:
                list(portal.map_at(path, [{"n": 3}]))
            assert removed.value.kind == "not_found"


def test_the_scheduler_is_not_asked_for_each_call(
    portal: DaskPortal, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, find, asked = portal.apply(functions.square), ClusterConnection.find, count()

    def counted(self: ClusterConnection, path: str) -> Any:
        next(asked)
        return find(self, path)

    monkeypatch.setattr(ClusterConnection, "find", counted)
    for number in range(50):
        assert consumer.call_at(address, {"n": number}) == number * number
    assert next(asked) < 10


def test_the_timeout_of_a_function_is_that_of_each_call_of_a_map(
    portal: DaskPortal, consumer: Consumer, tmp_path: Path
) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    address, inputs = portal.apply(functions.block_briefly), [{"path": str(path)}]
    try:
        for make in (
            lambda: portal.map_at(address, inputs, return_exceptions=True),
            lambda: consumer.map_at(address, inputs, return_exceptions=True, timeout=WAIT),
            lambda: iter([portal.submit_at(address, inputs[0], timeout=WAIT).exception(WAIT)]),
        ):
            [late] = make()
            assert isinstance(late, CallTimeout)
            assert late.may_have_executed
    finally:
        path.write_text("end")
        path.unlink()


def test_the_timeout_of_a_portal_is_that_of_its_calls(cluster: Any, tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    for name in (path, Path(f"{path}.end")):
        os.mkfifo(name)
    with DaskPortal(cluster.scheduler_address, name="limited", timeout=1.0) as limited:
        inputs = [{"path": str(path)}]
        address = limited.apply(functions.note_and_wait)
        path.unlink()
        assert isinstance(limited.submit_at(address, inputs[0]).exception(WAIT), CallTimeout)
        [late] = limited.map_at(address, inputs, return_exceptions=True)
        assert isinstance(late, CallTimeout)
        eventually(path.exists, WAIT)
    Path(f"{path}.end").write_text("end")
    Path(f"{path}.end").unlink()  # for a second run that starts now


def test_a_future_is_cancelled_while_its_call_runs(portal: DaskPortal, notes: Path) -> None:
    future = portal.submit_at(portal.apply(functions.wait_until_cancelled), {"path": str(notes), "wait": True})
    assert read_fifo(Path(f"{notes}.started")) == "started"
    assert future.cancel()
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result(WAIT)
    assert read_fifo(Path(f"{notes}.ended")) == "cancelled"
    eventually(lambda: portal.stats()["submitted"] == 0, WAIT)
