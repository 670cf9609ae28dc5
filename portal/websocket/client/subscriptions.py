"""SubscriptionTable: the subscriptions of one link, made again on each of its connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ..._internal.json_text import JSONObject, JSONValue
from ...address import Address
from ...errors import PortalError, ProtocolError
from ..events import CompleteReceived, EventReceived, GapReceived
from .exchange import Control

__all__ = ["Subscriber", "SubscriptionTable"]


class Subscriber(Protocol):
    """A subscription. Its methods run with the lock of the link held, so they must not block."""

    address: Address
    params: JSONObject | None
    credit: int | None

    def position_to_resume(self) -> JSONObject | None:
        """Return the epoch and offset from which to resume, or None for the present."""

    def on_subscribed(self, server_id: str, result: JSONObject) -> None:
        """Take the response to rpc.subscribe."""

    def on_event(self, event: EventReceived, size: int) -> bool:
        """Take an event. Return False if the subscription has ended, as it is too slow."""

    def on_gap(self, gap: GapReceived) -> None:
        """Take a gap."""

    def on_end(self, error: PortalError | None) -> None:
        """Take the end."""


class SubscriptionTable:
    """The subscriptions of a link, by the ids that its server has given them on the present connection.

    Args:
        send: sends a call.
        notify: sends a notification: method and parameters.

    Attributes:
        ids: the id of each subscription on the server, or None until it is known; only the table changes it.

    Threads: one at a time; the lock of the link guards it.
    """

    def __init__(self, send: Callable[[Control], object], notify: Callable[[str, JSONObject], object]) -> None:
        self._send = send
        self._notify = notify
        self.ids: dict[Subscriber, str | None] = {}
        self._by_id: dict[str, Subscriber] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(list(self.ids))

    def add(self, subscriber: Subscriber) -> None:
        """Add a subscription; `request` then makes it on the server."""
        self.ids[subscriber] = None

    def request(self, subscriber: Subscriber) -> None:
        """Make a subscription on the server, from where it was."""
        params: JSONObject = {}
        if subscriber.params is not None:
            params["params"] = subscriber.params
        position = subscriber.position_to_resume()
        if position is not None:
            params["from"] = position
        if subscriber.credit is not None:
            params["credit"] = subscriber.credit

        def finish(result: JSONValue, error: PortalError | None) -> None:
            self._on_response(subscriber, result, error)

        try:
            self._send(Control("rpc.subscribe", params, finish, address=subscriber.address, named="topic"))
        except PortalError as error:
            self._end(subscriber, error)

    def remove(self, subscriber: Subscriber) -> None:
        """Remove a subscription, here and on the server."""
        server_id = self.ids.pop(subscriber, None)
        if server_id is not None:
            self._by_id.pop(server_id, None)
            self._notify("rpc.unsubscribe", {"subscription": server_id})

    def lost(self, final: PortalError | None = None) -> None:
        """Forget the ids of a connection that is lost. End every subscription with an error that is final."""
        if final is not None:
            self.end_all(final)
        self._by_id.clear()
        self.ids = dict.fromkeys(self.ids)

    def end_all(self, error: PortalError | None) -> None:
        """End every subscription, with an error or without one."""
        for subscriber in list(self.ids):
            subscriber.on_end(error)
            self.remove(subscriber)

    def handle(self, event: Any, size: int) -> None:
        """Hand an event of the session to its subscription.

        Args:
            size: bytes of the message in which it came.
        """
        if not isinstance(event, EventReceived | GapReceived | CompleteReceived):
            return
        subscriber = self._by_id.get(event.subscription)
        if subscriber is None:
            return  # it was removed a moment ago
        if isinstance(event, EventReceived):
            if not subscriber.on_event(event, size):
                self.remove(subscriber)
        elif isinstance(event, GapReceived):
            subscriber.on_gap(event)
        else:
            self._end(subscriber, event.error)

    def _on_response(self, subscriber: Subscriber, result: JSONValue, error: PortalError | None) -> None:
        server_id = result.get("subscription") if isinstance(result, dict) else None
        if error is None and not isinstance(server_id, str):
            error = ProtocolError("the response to rpc.subscribe must have the id of a subscription")
        if error is not None:
            self._end(subscriber, error)
        elif subscriber not in self.ids:  # it was closed meanwhile
            self._notify("rpc.unsubscribe", {"subscription": server_id})
        else:
            assert isinstance(result, dict)
            assert isinstance(server_id, str)
            self.ids[subscriber] = server_id
            self._by_id[server_id] = subscriber
            subscriber.on_subscribed(server_id, result)

    def _end(self, subscriber: Subscriber, error: PortalError | None) -> None:
        subscriber.on_end(error)
        server_id = self.ids.pop(subscriber, None)
        if server_id is not None:
            self._by_id.pop(server_id, None)
