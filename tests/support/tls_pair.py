"""A client's TLS connection and the server's side of it, on a socket pair."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from time import monotonic
from typing import NamedTuple

import trustme

from portal.http.client.connection import HTTPConnection
from portal.http.client.tls_connection import TLSConnection, TLSState, start_tls

WAIT = 10.0


@cache
def contexts(maximum: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a client and of the server "localhost" that it trusts."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.maximum_version = maximum
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return client, server


class Owner:
    """Keep the sessions, and no connection: a test holds its connection itself."""

    def __init__(self) -> None:
        self.sessions: list[ssl.SSLSession | None] = []

    def put(self, connection: HTTPConnection) -> None:
        """Do nothing."""

    def keep_session(self, session: ssl.SSLSession | None) -> None:
        self.sessions.append(session)


class Pair(NamedTuple):
    connection: TLSConnection
    server: ssl.SSLSocket
    bare: socket.socket  # the server's socket below TLS
    owner: Owner


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@contextmanager
def tls_pair(
    *,
    name: str = "localhost",
    session: ssl.SSLSession | None = None,
    maximum: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    read_timeout: float | None = None,
) -> Iterator[Pair]:
    """Yield both sides of a connection after its handshake."""
    client, context = contexts(maximum)
    ours, theirs = socket.socketpair()
    ours.settimeout(WAIT)
    theirs.settimeout(WAIT)
    bare = theirs.dup()
    server = context.wrap_socket(theirs, server_side=True, do_handshake_on_connect=False)
    thread = in_background(server.do_handshake)
    state = TLSState(client, name, session)
    with ours, server, bare:
        start_tls(ours, state, monotonic() + WAIT)
        thread.join(WAIT)
        owner = Owner()
        connection = TLSConnection(ours, owner, state, read_timeout)
        yield Pair(connection, server, bare, owner)
        connection.close()
