"""The one definition of client: the identity, else the network."""

from __future__ import annotations

import pytest

from portal import function
from portal.calls.client import client_name, client_of
from portal.calls.middleware import Call
from portal.context import CallContext, Identity

work = function(lambda: 1, name="work")


@pytest.mark.parametrize(
    ("identity", "peer", "name"),
    [
        ("ann", "192.0.2.1", "identity:ann"),
        (None, "192.0.2.1", "network:192.0.2.1"),
        (None, "2001:db8::1", "network:2001:db8::/64"),
        (None, "2001:db8::ffff:1", "network:2001:db8::/64"),
        (None, "unix:", "network:unix:"),
        (None, "", "network:"),
        ("network:192.0.2.1", "192.0.2.9", "identity:network:192.0.2.1"),
        ("", "192.0.2.1", "identity:"),
    ],
)
def test_a_client_is_its_identity_or_its_network(identity: str | None, peer: str, name: str) -> None:
    found = None if identity is None else Identity(identity)
    assert client_name(found, peer) == name
    assert client_of(Call(work, {}, CallContext(identity=found), peer=peer)) == name
