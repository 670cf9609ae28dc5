"""The OpenSSL error queue of a thread can be emptied after a connection has broken."""

from __future__ import annotations

import ssl

import pytest

from portal._internal.openssl import clear_error_queue
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
