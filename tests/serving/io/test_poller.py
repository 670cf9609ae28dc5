"""The pollers for epoll and for selectors behave alike."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator

import pytest

from portal.serving.io.poller import Poller, open_poller


@pytest.fixture(params=[False, True], ids=["epoll", "selectors"])
def poller(request: pytest.FixtureRequest) -> Iterator[Poller]:
    if not request.param and not hasattr(select, "epoll"):
        pytest.skip("no epoll here")
    made = open_poller(portable=request.param)
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_an_armed_socket_is_reported_as_long_as_it_is_ready(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    assert poller.wait(0) == []
    theirs.send(b"x")
    assert poller.wait(5) == [ours.fileno()]
    assert poller.wait(5) == [ours.fileno()]
    ours.recv(1)
    assert poller.wait(0) == []


def test_a_disarmed_socket_is_not_reported_until_it_is_armed(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    poller.disarm(ours.fileno())
    theirs.send(b"x")
    assert poller.wait(0) == []
    poller.arm(ours.fileno())
    assert poller.wait(5) == [ours.fileno()]


def test_arming_by_another_thread_affects_a_running_wait(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    poller.disarm(ours.fileno())
    theirs.send(b"x")
    assert poller.wait(0) == []
    found: list[int] = []

    def wait() -> None:
        while not found:
            found.extend(poller.wait(10))

    thread = threading.Thread(target=wait)
    thread.start()
    poller.arm(ours.fileno())
    thread.join(10)
    assert found == [ours.fileno()]


def test_a_wake_ends_the_wait(poller: Poller) -> None:
    for _ in range(5):
        poller.wake()
    assert poller.wait(60) == []


def test_the_end_of_a_connection_is_reported(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    theirs.close()
    assert poller.wait(5) == [ours.fileno()]


def test_a_hangup_is_distinguished_from_data(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    poller.disarm(ours.fileno())
    if not poller.arm_hangup(ours.fileno()):
        theirs.close()
        assert poller.wait(0) == []  # it says so, and the next write finds out
        return
    theirs.send(b"x")
    assert poller.wait(0) == []
    theirs.shutdown(socket.SHUT_WR)
    assert poller.wait(5) == [ours.fileno()]
    assert poller.wait(0) == []


def test_a_forgotten_socket_is_not_reported(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    poller.forget(ours.fileno())
    poller.forget(ours.fileno())
    theirs.send(b"x")
    assert poller.wait(0) == []


def test_a_listening_socket_is_reported_for_each_connection(poller: Poller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        poller.listen(server.fileno())
        with socket.create_connection(server.getsockname()):
            assert poller.wait(5) == [server.fileno()]
            assert poller.wait(5) == [server.fileno()]
        poller.forget(server.fileno())
        assert poller.wait(0) == []
