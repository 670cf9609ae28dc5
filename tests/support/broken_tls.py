"""TLS connections within this process, and one that leaves an error in the OpenSSL error queue of the thread."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trustme


@contextmanager
def connected() -> Iterator[tuple[ssl.SSLSocket, socket.socket]]:
    """Yield the server's side of a TLS connection, which does not block, and the bare socket of its client."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with theirs, server.wrap_socket(ours, server_side=True, do_handshake_on_connect=False) as tls:
        done = False
        while not done:
            with suppress(ssl.SSLWantReadError):
                peer.do_handshake()
            theirs.send(outgoing.read())
            with suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                done = True
            with suppress(BlockingIOError):
                incoming.write(theirs.recv(65536))
        yield tls, theirs


def break_a_connection() -> None:
    """Write to a TLS connection whose client is gone.

    OpenSSL 3.2 and later leave the error of the system call in the queue of this thread. CPython takes it for the
    error of the next read that has to wait, on any connection of this thread.
    """
    with connected() as (tls, theirs):
        theirs.close()
        with pytest.raises(OSError, match=r"Broken pipe|EOF occurred"):
            tls.send(b"not read")
