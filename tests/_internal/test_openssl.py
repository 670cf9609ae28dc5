"""The OpenSSL error queue of a thread can be emptied after a connection has broken."""

from __future__ import annotations

import ssl

import pytest

from portal._internal.openssl import NOT_READY, clear_error_queue, repeat_operation
from tests.support.broken_tls import break_a_connection, connected


def test_another_connection_of_the_thread_is_not_affected() -> None:
    with connected() as (tls, _):
        break_a_connection()
        clear_error_queue()
        with pytest.raises(ssl.SSLWantReadError):
            tls.recv(1)


def test_an_empty_queue_can_be_emptied() -> None:
    with connected() as (tls, _):
        clear_error_queue()
        clear_error_queue()
        assert tls.send(b"x") == 1


class Operation:
    """A read of a TLS object: each call raises or returns the next outcome."""

    def __init__(self, *outcomes: bytes | OSError) -> None:
        self._outcomes = list(outcomes)

    def __call__(self, size: int) -> bytes:
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome


_LEFTOVER = ssl.SSLError(1, "left by another connection")


def test_an_operation_that_met_a_leftover_error_is_repeated() -> None:
    assert repeat_operation(Operation(b"data"), 1, _LEFTOVER) == b"data"
    with pytest.raises(ssl.SSLWantReadError):
        repeat_operation(Operation(ssl.SSLWantReadError(2, "wait")), 1, _LEFTOVER)


@pytest.mark.parametrize("second", [ssl.SSLError(1, "again"), ConnectionResetError(), ssl.SSLEOFError(8, "end"), b""])
def test_a_broken_connection_raises_its_first_error(second: OSError | bytes) -> None:
    first = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    with pytest.raises(ssl.SSLEOFError) as raised:
        repeat_operation(Operation(second), 1, first)
    assert raised.value is first


@pytest.mark.parametrize("kind", NOT_READY)
def test_an_operation_that_has_to_wait_is_not_repeated(kind: type[ssl.SSLError]) -> None:
    error = kind(2, "wait")
    with pytest.raises(kind) as raised:
        repeat_operation(Operation(), 1, error)
    assert raised.value is error


def test_a_closed_connection_fails_again_when_it_is_repeated() -> None:
    with connected() as (tls, theirs):
        theirs.close()
        clear_error_queue()
        with pytest.raises(OSError) as raised:
            tls._sslobj.read(1)  # type: ignore[attr-defined]
        with pytest.raises(OSError) as again:
            repeat_operation(tls._sslobj.read, 1, raised.value)  # type: ignore[attr-defined]
        assert again.value is raised.value
