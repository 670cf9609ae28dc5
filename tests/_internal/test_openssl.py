"""The OpenSSL error queue of a thread: what a broken connection leaves there is gone once it is emptied."""

from __future__ import annotations

import ssl

import pytest

from portal._internal.openssl import clear_error_queue
from tests.support.broken_tls import break_a_connection, connected


def test_a_connection_of_the_thread_waits_as_before() -> None:
    with connected() as (tls, _):
        break_a_connection()
        clear_error_queue()
        with pytest.raises(ssl.SSLWantReadError):
            tls.recv(1)


def test_it_changes_nothing_where_the_queue_is_empty() -> None:
    with connected() as (tls, _):
        clear_error_queue()
        clear_error_queue()
        assert tls.send(b"x") == 1
