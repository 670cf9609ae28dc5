"""PlacedFunction: a function in another process behaves as one in this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
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
    HTTPPortal,
    Identity,
    LocalPortal,
    ValidationError,
    function,
)
from portal.errors import TransportError
from portal.function.placed import runner_of
from tests.support import placed_functions as placed
from tests.support.fifos import read_fifo
from tests.support.waiting import eventually

WAIT = 60.0


@pytest.fixture(scope="module", autouse=True)
def pools() -> Iterator[None]:
    yield
    placed.POOL.close()
    placed.ONE.close()


@pytest.fixture(params=["local", "http"])
def call(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    with LocalPortal() if request.param == "local" else HTTPPortal() as portal, Consumer() as consumer:
        yield lambda target, params=None, **options: consumer.call_at(portal.apply(target), params, **options)


def test_it_runs_in_another_process(call: Callable[..., Any]) -> None:
    assert call(placed.pid) != os.getpid()
    assert call(placed.add, {"a": 1, "b": 2}) == 3.0
    assert call(placed.add, {"a": 1, "b": 2}, timeout=WAIT) == 3.0
    assert call(placed.double, {"item": {"name": "pen", "count": 2}}) == {"name": "pen", "count": 4}


def test_parameters_are_validated_here(call: Callable[..., Any]) -> None:
    before = placed.POOL.stats()["calls"]
    with pytest.raises(ValidationError):
        call(placed.add, {"a": "x", "b": 2})
    assert placed.POOL.stats()["calls"] == before


def test_errors_come_back(call: Callable[..., Any]) -> None:
    with pytest.raises(AuthorizationError, match="not for you") as denied:
        call(placed.fail, {"kind": "portal"})
    assert denied.value.executed
    assert denied.value.hint == "ask ann"
    for kind, name in (("own", "ShopClosed"), ("unpicklable", "Unpicklable"), ("exit", "SystemExit")):
        with pytest.raises(FunctionError) as caught:
            call(placed.fail, {"kind": kind})
        assert caught.value.type in (name, "")  # servers keep it in their logs
        assert caught.value.executed
    with pytest.raises(FunctionError):
        call(placed.unsendable)


def test_an_error_says_where_it_came_from() -> None:
    with pytest.raises(placed.ShopClosed) as caught:
        placed.fail("own")
    assert "placed_functions.py" in caught.value.__notes__[0]
    assert str(caught.value) == "closed today"


def test_the_error_of_a_nested_call_stays_hidden() -> None:
    with HTTPPortal() as portal, Consumer() as consumer, pytest.raises(FunctionError) as caught:
        consumer.call_at(portal.apply(placed.nested), {"kind": "own"})
    assert "closed today" not in str(caught.value)


def test_the_context_arrives() -> None:
    portal = LocalPortal()
    outer = CallContext(
        request_id="r1",
        identity=Identity("ann"),
        baggage={"shop": "7"},
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    found = Consumer([portal]).call_at(portal.apply(placed.context_of), {"key": "shop"}, timeout=30, context=outer)
    assert found["trace"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    del found["trace"]
    assert found == {"request_id": "r1", "identity": "ann", "baggage": "7", "left": True}


def test_a_function_that_calls_itself_stays_in_its_process() -> None:
    before = placed.POOL.stats()["calls"]
    assert placed.fib(n=8) == 21
    assert placed.POOL.stats()["calls"] == before + 1


def test_a_killed_process_is_one_calls_error(call: Callable[..., Any]) -> None:
    with pytest.raises(TransportError) as caught:
        call(placed.die, {"number": int(signal.SIGKILL)})
    assert caught.value.may_have_executed
    assert call(placed.add, {"a": 1, "b": 2}) == 3.0


def test_a_late_call_frees_its_process(call: Callable[..., Any]) -> None:
    call(placed.pid)
    before = placed.POOL.stats()["killed"]
    with pytest.raises(CallTimeout) as caught:
        call(placed.hang, timeout=1.0)
    assert caught.value.may_have_executed
    eventually(lambda: placed.POOL.stats()["killed"] > before)
    assert call(placed.add, {"a": 1, "b": 2}) == 3.0


def test_a_cancelled_call_frees_its_process(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    portal, context = LocalPortal(), CallContext()
    address = portal.apply(placed.hang_alone)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            Consumer([portal]).call_at(address, {"path": str(fifo)}, context=context)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    read_fifo(fifo)
    context.cancel()
    thread.join(WAIT)
    assert [type(error) for error in failures] == [CallCancelled]
    assert placed.ONE.stats()["idle"] == placed.ONE.stats()["processes"]


def stream() -> Iterator[int]:
    yield 1


def test_what_cannot_be_placed_is_rejected_when_it_is_made() -> None:
    for target in (lambda: 1, stream, max, os.getpid):
        with pytest.raises(ConfigError):
            function(executor=placed.POOL)(target)

    def local() -> int:
        return 1

    with pytest.raises(ConfigError, match="must be a function of a module"):
        function(executor="processes")(local)

    with pytest.raises(ConfigError, match="must be a function of a module"):

        class Shop:
            @function(executor=placed.POOL)
            def price(self) -> float:
                return 1.0

    class Borrowed:
        add = placed.add

    assert Borrowed.add is placed.add
    with pytest.raises(ConfigError, match="got a method"):
        Borrowed().add  # noqa: B018 - as a service does


def test_a_place_stands_for_one_pool_of_the_process() -> None:
    assert runner_of("processes") is runner_of("processes")
    assert runner_of(placed.POOL) is placed.POOL


def test_a_portal_may_run_its_functions_by_a_process_pool() -> None:
    import multiprocessing

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
        portal = LocalPortal(executor=processes)
        address = portal.apply(placed.fib.target)
        assert Consumer([portal]).call_at(address, {"n": 8}) == 21
        assert Consumer([portal]).call_at(address, {"n": 8}, timeout=WAIT) == 21
        portal.close()


def test_a_script_may_hold_the_function(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os\nfrom portal import function\n"
        "@function(executor='processes')\ndef pid() -> int:\n    return os.getpid()\n"
        "if __name__ == '__main__':\n    print(pid() != os.getpid())\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_a_script_without_the_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os\nfrom portal import function\n"
        "@function(executor='processes')\ndef pid() -> int:\n    return os.getpid()\n"
        "print(pid())\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith('; a script must make its calls below `if __name__ == "__main__":`\n')
