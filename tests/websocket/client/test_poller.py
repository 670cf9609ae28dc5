"""EpollPoller."""

from __future__ import annotations

import select
import selectors
import socket

import pytest

from portal.websocket.client.poller import make_poller

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="needs epoll")
def test_events_of_registered_sockets() -> None:
    poller = make_poller()
    mine, other = socket.socketpair()
    with mine, other:
        poller.register(mine, READ, "mine")
        assert poller.select(0) == []
        other.send(b"x")
        ((key, events),) = poller.select(1)
        assert (key.data, events) == ("mine", READ)
        poller.modify(mine, WRITE)
        ((_, events),) = poller.select(1)
        assert events & WRITE
        poller.modify(mine, 0)
        assert poller.select(0) == []
        other.close()
        ((_, events),) = poller.select(1)  # a hang-up is found by reading, whatever is watched
        assert events & READ
        poller.unregister(mine)
        assert poller.select(0) == []
        with pytest.raises(OSError, match="No such file"):
            poller.modify(mine, READ)
    with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
        poller.register(mine, READ, None)
    poller.close()
