"""Portals over TLS with a certificate of their own authority, and a client side that trusts it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import trustme

from portal import Certificate, ServingConfig, TLSConfig, WebSocketPortal
from portal.http import ClientTLS
from portal.websocket import WebSocketClient

_folder = tempfile.TemporaryDirectory(prefix="portal-tls-")  # removed at the end of the process


def secure_websocket_portal() -> WebSocketPortal:
    """Return a portal for 127.0.0.1 that serves wss:// and resolves its own addresses."""
    folder = Path(_folder.name)
    chain, authority = folder / "server.pem", folder / "authority.pem"
    if not chain.exists():
        made = trustme.CA()
        made.cert_pem.write_to_path(str(authority))
        made.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(chain))
    return WebSocketPortal(
        serving=ServingConfig(tls=TLSConfig(Certificate(chain))),
        client=WebSocketClient(tls=ClientTLS(ca=authority)),
    )
