"""Connections: the open connections of a portal, their limits, their events and their counters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

from ..._internal.background import run_apart
from ..._internal.conditions import Condition, Event
from ..._internal.counter import Counter
from ..._internal.log import get_logger
from ...calls.client import client_name
from ...context import Identity
from ...errors import OverloadedError, RateLimitError
from ...serving.messages.held_keys import HeldKeys
from ..close_codes import CloseCode
from .sessions import SessionStore
from .settings import WebSocketConfig
from .subscription_places import SubscriptionPlaces

if TYPE_CHECKING:
    from .connection import ServerConnection

__all__ = ["Connections", "Hook"]

_log = get_logger("portal.websocket")

#: Called with the description of a connection.
Hook = Callable[[dict[str, Any]], object]


class Connections:
    """The open connections of a portal.

    Args:
        config: the limits.
        on_connect, on_disconnect: called in a worker with the description of a connection, the second after the first.
        sessions: keeps the sessions of clients, or None.

    Attributes:
        closed_slow: counts the connections that were closed because their client read too slowly.
        dead: counts those whose client did not respond to a ping.
        failures: counts those whose client broke the protocol.
        rejected: counts the rejected handshakes.
        sessions: as given.
        subscriptions: counts the subscriptions of all connections.

    Threads: any.
    """

    def __init__(
        self,
        config: WebSocketConfig,
        *,
        on_connect: Hook | None = None,
        on_disconnect: Hook | None = None,
        sessions: SessionStore | None = None,
    ) -> None:
        self.closed_slow, self.dead, self.failures, self.rejected = Counter(), Counter(), Counter(), Counter()
        self.sessions = sessions
        self.subscriptions = SubscriptionPlaces(config.max_all_subscriptions, config.subscriptions_per_client)
        self._config = config
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._lock = threading.RLock()  # guards the attributes below
        self._emptied = Condition(self._lock)  # notified when the last connection is gone
        self._numbers = count(1)
        self._open: dict[str, ServerConnection] = {}
        self._clients: dict[str, int] = {}  # number of connections
        self._accepted = 0
        self._connecting: dict[str, threading.Event] = {}  # set when `on_connect` has ended

    def __iter__(self) -> Iterator[ServerConnection]:
        return iter(self.all())

    def __len__(self) -> int:
        return len(self._open)

    def next_id(self) -> str:
        """Return an id for a new connection."""
        return f"c{next(self._numbers)}"

    def check(self, client: str) -> None:
        """Raise OverloadedError if there are too many connections, or RateLimitError if the client has too many."""
        if len(self._open) >= self._config.max_connections:
            raise OverloadedError("the limit of connections is reached", retry_after=1.0)
        if self._clients.get(client, 0) >= self._config.connections_per_client:
            raise RateLimitError("the client has too many connections", retry_after=1.0)

    def add(self, connection: ServerConnection) -> tuple[int, str] | None:
        """Add a new connection. Return code and reason of the close if there are too many; see `check`.

        Handshakes at the same time may all have passed `check`.
        """
        client = connection.client
        with self._lock:
            full = len(self._open) >= self._config.max_connections
            greedy = self._clients.get(client, 0) >= self._config.connections_per_client
            self._open[connection.id] = connection
            self._clients[client] = self._clients.get(client, 0) + 1
            self._accepted += 1
        if full:
            return CloseCode.TRY_AGAIN_LATER, "the limit of connections is reached"
        if greedy:
            return CloseCode.TOO_MANY, "the client has too many connections"
        if self._on_connect is not None:
            ended = self._connecting[connection.id] = Event()
            try:
                _run(connection, _HookWork(self._on_connect, connection, ended=ended))
            except BaseException:
                ended.set()  # `on_disconnect` must not wait for what does not run
                raise
        return None

    def identified(self, connection: ServerConnection, identity: Identity) -> bool:
        """Count a connection for an identity. Return False if that has too many."""
        name = client_name(identity, connection.address)
        with self._lock:
            before, connection.client = connection.client, name
            if self._open.get(connection.id) is not connection or before == name:
                return True
            self._leave(before)
            self._clients[name] = self._clients.get(name, 0) + 1
            return self._clients[name] <= self._config.connections_per_client

    def remove(self, connection: ServerConnection) -> None:
        """Forget a connection that is lost."""
        with self._lock:
            if self._open.pop(connection.id, None) is None:
                return
            self._leave(connection.client)
            if not self._open:
                self._emptied.notify_all()
        begun = self._connecting.pop(connection.id, None)
        if self._on_disconnect is not None and (begun is not None or self._on_connect is None):
            _run(connection, _HookWork(self._on_disconnect, connection, after=begun))

    def wait_until_empty(self, timeout: float) -> bool:
        """Wait until there is no connection, at most so many seconds. Return whether there is none."""
        with self._emptied:
            return self._emptied.wait_for(lambda: not self._open, timeout)

    def _leave(self, client: str) -> None:
        left = self._clients.get(client, 0) - 1
        if left > 0:
            self._clients[client] = left
        else:
            self._clients.pop(client, None)

    def all(self) -> list[ServerConnection]:
        """Return the open connections."""
        with self._lock:
            return list(self._open.values())

    def get(self, connection_id: str) -> ServerConnection | None:
        """Return the open connection with an id, or None."""
        return self._open.get(connection_id)

    def list_clients(self) -> list[dict[str, Any]]:
        """Return the state and the counters of each open connection as JSON data."""
        return [one.describe() for one in self.all()]

    def disconnect(
        self, which: str | Callable[[dict[str, Any]], bool], *, code: int = CloseCode.NORMAL, reason: str = ""
    ) -> int:
        """Close connections. Return how many.

        Args:
            which: the id of a connection, the name of a client such as "identity:ann", or a test of a description.
            code, reason: of the close frame.
        """
        if callable(which):
            found = [one for one in self.all() if which(one.describe())]
        else:
            found = [one for one in self.all() if which in (one.id, one.client)]
        for one in found:
            one.close(code, reason)
        return len(found)

    def stats(self) -> dict[str, int]:
        """Return the numbers of connections: open, accepted, rejected, closed_slow, dead and broken protocols."""
        return {
            "open": len(self._open),
            "clients": len(self._clients),
            "accepted": self._accepted,
            "rejected": self.rejected.value,
            "closed_slow": self.closed_slow.value,
            "dead": self.dead.value,
            "broken_protocol": self.failures.value,
        }


class _HookWork:
    """Calls a hook of the application.

    Args:
        ended: set after it.
        after: waited for before it.
    """

    def __init__(
        self,
        hook: Hook,
        connection: ServerConnection,
        *,
        ended: threading.Event | None = None,
        after: threading.Event | None = None,
    ) -> None:
        self._hook = hook
        self._described = connection.describe()
        self._ended = ended
        self._after = after

    def __call__(self, held: HeldKeys | None) -> bool:
        if self._after is not None:
            self._after.wait()
        try:
            self._hook(self._described)
        except BaseException:
            _log.exception("a hook of a connection failed: connection=%s", self._described["id"])
        finally:
            if self._ended is not None:
                self._ended.set()
        return False

    def reject(self, error: OverloadedError) -> None:
        run_apart("portal-websocket-hook", self, None)


def _run(connection: ServerConnection, work: _HookWork) -> None:
    try:
        connection.run_in_worker("hook", (), work)
    except OverloadedError as error:
        work.reject(error)
