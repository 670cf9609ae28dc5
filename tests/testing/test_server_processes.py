from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portal import ConfigError, Consumer, TransportError, function
from portal.testing import ServerProcesses
from portal.testing.server_processes import target_of
from tests.support import served_functions
from tests.support.served_functions import add, chatty, double, process_id, shop, stall, till


@pytest.fixture
def processes() -> Iterator[ServerProcesses]:
    with ServerProcesses() as running:
        yield running


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    with Consumer() as one:
        yield one


def test_objects_and_names_are_served_in_another_process(processes: ServerProcesses, consumer: Consumer) -> None:
    base = processes(add, double, shop, till, "tests.support.served_functions:process_id", base_path="/x")
    assert base.path == "/x"
    assert consumer.call_at(base.child("add"), {"a": 1, "b": 2}) == 3
    assert consumer.call_at(base.child("double"), {"n": 4}) == 8
    assert consumer.call_at(base.child("shop", "add"), {"a": 1, "b": 2}) == 3
    assert consumer.call_at(base.child("till", "total"), {"prices": [1, 2]}) == 3
    assert consumer.call_at(base.child("process_id")) not in (None, process_id())


def test_a_portal_is_served_with_its_own_settings(processes: ServerProcesses, consumer: Consumer) -> None:
    base = processes(add, served_functions.http, shop)
    assert base.path == "/own"
    assert consumer.call_at(base.child("add"), {"a": 1, "b": 2}) == 3
    assert consumer.call_at(base.child("shop", "add"), {"a": 1, "b": 2}) == 3


def test_printed_text_does_not_block_the_server(
    processes: ServerProcesses, consumer: Consumer, capfd: pytest.CaptureFixture[str]
) -> None:
    base = processes(chatty)
    assert consumer.call_at(base.child("chatty"), timeout=30) == 200_000
    assert capfd.readouterr().err.count("x") >= 200_000


def test_kill_breaks_calls_in_progress(processes: ServerProcesses, consumer: Consumer) -> None:
    base, other = processes(stall, add), processes(add)
    assert base != other
    future = consumer.submit_at(base.child("stall"))
    assert consumer.call_at(base.child("add"), {"a": 1, "b": 2}) == 3
    processes.kill(base)
    with pytest.raises(TransportError):
        future.result(30)
    assert consumer.call_at(other.child("add"), {"a": 1, "b": 2}) == 3
    with pytest.raises(ConfigError, match=r"portal_server\.kill must be the base address of a server that runs"):
        processes.kill(base)


def test_the_processes_end_with_the_block(consumer: Consumer) -> None:
    with ServerProcesses() as processes:
        base = processes(add)
    with pytest.raises(TransportError):
        consumer.call_at(base.child("add"), {"a": 1, "b": 2})
    processes.close()  # a second time


def test_a_process_ends_with_the_one_that_started_it() -> None:
    code = "\n".join(
        [
            "import os",
            "from portal.testing import ServerProcesses",
            "print(ServerProcesses()('tests.support.served_functions:process_id'), flush=True)",
            "os._exit(0)",
        ]
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    base, errors = run.communicate(timeout=60)  # its error output ends only when the server process has ended
    assert base.startswith("http://"), errors
    with Consumer() as consumer, pytest.raises(TransportError):
        consumer.call_at(base.strip() + "/process_id")


@pytest.mark.parametrize(
    ("targets", "options"),
    [
        (["tests.support.served_functions:nothing"], {}),
        (["tests.support.nothing:add"], {}),
        ([add, add, "sys:path"], {}),
        ([add], {"base_path": "x/"}),
        ([served_functions.http], {"debug": True}),
    ],
)
def test_a_process_that_cannot_serve_is_reported(
    targets: list[Any], options: dict[str, Any], processes: ServerProcesses, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match=r"the server process of .* ended with 1; see its error output"):
        processes(*targets, **options)
    assert "Error" in capfd.readouterr().err


@pytest.mark.parametrize("make", [lambda: lambda: 1, lambda: 7, lambda: "add", lambda: ":add", lambda: function(add)])
def test_an_object_without_a_name_is_rejected(make: Callable[[], Any], processes: ServerProcesses) -> None:
    with pytest.raises(ConfigError, match=r"portal_server\.targets must be"):
        processes(make())


def test_settings_are_checked_before_a_process_starts(processes: ServerProcesses) -> None:
    with pytest.raises(ConfigError, match=r"portal_server\.targets must be functions, services or a portal"):
        processes()
    with pytest.raises(ConfigError, match=r"portal_server\.options must be JSON data"):
        processes(add, executor=object())


def test_objects_have_the_name_of_their_module() -> None:
    for value, name in ((add, "add"), (double, "double"), (shop, "shop"), (till, "till")):
        assert target_of(value).endswith(f":{name}")
    assert target_of(add) == target_of(target_of(add)) == "tests.support.served_functions:add"
