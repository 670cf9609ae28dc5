"""Unix sockets: their files, their permissions, and other processes at the same path."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from portal import HTTPPortal
from portal.errors import TransportError
from portal.serving.io.sockets import SocketFile, open_socket, socket_file

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


def listening_at(path: Path, backlog: int = 8) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(backlog)
    return sock


def replace_by_socket(path: Path, stack: ExitStack) -> None:
    path.unlink()
    stack.enter_context(listening_at(path))


def replace_by_renaming(path: Path, stack: ExitStack) -> None:
    stack.enter_context(listening_at(path.with_name("new")))
    path.with_name("new").rename(path)


def replace_by_file(path: Path, stack: ExitStack) -> None:
    path.unlink()
    path.write_text("kept")


def replace_by_link(path: Path, stack: ExitStack) -> None:
    stack.enter_context(listening_at(path.with_name("new")))
    path.unlink()
    path.symlink_to("new")


def replace_by_directory(path: Path, stack: ExitStack) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "replace", [replace_by_socket, replace_by_renaming, replace_by_file, replace_by_link, replace_by_directory]
)
def test_a_stop_leaves_the_file_of_a_successor(path: Path, replace: Callable[[Path, ExitStack], None]) -> None:
    with ExitStack() as stack:
        portal = HTTPPortal(f"unix:{path}")
        portal.start()
        replace(path, stack)
        before = os.stat(path).st_ino
        portal.close()
        assert os.stat(path).st_ino == before


def test_a_successor_that_portal_starts_keeps_its_socket(path: Path) -> None:
    first, second = HTTPPortal(f"unix:{path}"), HTTPPortal(f"unix:{path}")
    first.start()
    path.unlink()  # as a deployment does that replaces a process
    second.start()
    first.close()
    assert path.exists()
    second.close()
    assert not path.exists()


def remove_file(path: Path) -> None:
    path.unlink()


def remove_directory(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()


def replace_directory(path: Path) -> None:
    remove_directory(path)
    path.parent.write_text("")


@pytest.mark.parametrize("remove", [remove_file, remove_directory, replace_directory])
def test_a_stop_succeeds_if_the_file_has_gone(tmp_path: Path, remove: Callable[[Path], None]) -> None:
    path = tmp_path / "below" / "socket"
    path.parent.mkdir()
    portal = HTTPPortal(f"unix:{path}")
    portal.start()
    remove(path)
    portal.close()
    assert not portal.listener.running


def test_a_file_that_cannot_be_removed_is_logged(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: str) -> None:
        raise PermissionError(13, "Permission denied")

    with listening_at(path):
        file = SocketFile.at(str(path))
        monkeypatch.setattr(os, "unlink", fail)
        file.remove()
    assert f"the file of a socket was not removed: {path}" in caplog.text


def test_the_file_of_a_relative_path_is_removed_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    portal = HTTPPortal("unix:socket")
    portal.start()
    monkeypatch.chdir("elsewhere")
    portal.close()
    assert not (tmp_path / "socket").exists()


@pytest.fixture
def hung(path: Path) -> Iterator[Path]:
    """The path of a socket that accepts nothing and whose backlog is full."""
    with ExitStack() as stack:
        stack.enter_context(listening_at(path, backlog=0))
        while True:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        yield path


def test_a_start_beside_a_hung_listener_fails_at_once(hung: Path) -> None:
    before = os.stat(hung).st_ino
    done, errors = threading.Event(), list[TransportError]()

    def start() -> None:
        try:
            open_socket(f"unix:{hung}", 0, 8, 0o600)
        except TransportError as error:
            errors.append(error)
        done.set()

    threading.Thread(target=start, daemon=True).start()
    assert done.wait(10)
    assert "is in use" in str(errors[0])
    assert os.stat(hung).st_ino == before


def live(path: Path, stack: ExitStack) -> None:
    stack.enter_context(listening_at(path))


def of_datagrams(path: Path, stack: ExitStack) -> None:
    stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)).bind(str(path))


def file_of_data(path: Path, stack: ExitStack) -> None:
    path.write_text("kept")


@pytest.mark.parametrize("occupy", [live, of_datagrams, file_of_data])
def test_a_start_leaves_what_others_use(path: Path, occupy: Callable[[Path, ExitStack], None]) -> None:
    with ExitStack() as stack:
        occupy(path, stack)
        before = os.stat(path).st_ino
        with pytest.raises(TransportError, match="is in use"):
            open_socket(f"unix:{path}", 0, 8, 0o600)
        assert os.stat(path).st_ino == before


def test_the_file_of_a_killed_process_is_replaced(path: Path) -> None:
    listening_at(path).close()
    with open_socket(f"unix:{path}", 0, 8, 0o600), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_file_that_another_process_puts_there_meanwhile_is_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes start at a stale file at once."""
    listening_at(path).close()
    connect, others = socket.socket.connect, list[socket.socket]()

    class Probe(socket.socket):
        def connect(self, address: object) -> None:
            try:
                connect(self, address)  # type: ignore[arg-type]
            finally:
                path.unlink()
                others.append(listening_at(path))

    monkeypatch.setattr("portal.serving.io.sockets.socket.socket", Probe)
    with pytest.raises(TransportError, match="is in use"):
        open_socket(f"unix:{path}", 0, 8, 0o600)
    assert path.exists()
    for other in others:
        other.close()


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_permissions_are_set_without_the_umask_of_the_process(
    path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    def fail(mask: int) -> int:
        raise AssertionError("files that other threads make at this moment would get this mask")

    monkeypatch.setattr(os, "umask", fail)
    with open_socket(f"unix:{path}", 0, 8, mode):
        assert stat.S_IMODE(os.stat(path).st_mode) == mode


def test_nobody_connects_before_the_permissions_are_set(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []

    def chmod(path: str, mode: int) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(path)
            except ConnectionRefusedError:
                refused.append(path)

    monkeypatch.setattr(os, "chmod", chmod)
    open_socket(f"unix:{path}", 0, 8, 0o600).close()
    assert refused == [str(path)]


def test_a_start_that_fails_after_the_bind_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", fail)
    with pytest.raises(TransportError, match="Operation not permitted"):
        open_socket(f"unix:{path}", 0, 8, 0o600)
    assert not path.exists()


def test_a_host_that_is_not_a_path_has_no_file() -> None:
    assert socket_file("127.0.0.1") is None
