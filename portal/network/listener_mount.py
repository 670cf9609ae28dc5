"""ListenerMount: serve the apps of one portal on a listener that other portals may share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..address import Address
from ..serving import App, Listener

__all__ = ["ListenerMount", "Place", "address_on"]


class Place(NamedTuple):
    """A path prefix and the app that is served there.

    Attributes:
        shared: whether an app that already has the prefix on the listener keeps it.
    """

    prefix: str
    app: App
    shared: bool = False


class ListenerMount:
    """Serves the apps of one portal.

    Args:
        listener: where.
        owned: whether the portal made the listener, so that it stops with the portal. Any other listener stops with the
            last portal that leaves it.
        listen: False serves only on sockets that another server has passed on.
        places: the apps.

    Attributes:
        mounted: whether the apps are on the listener.

    Threads: one at a time; the portal has a lock.
    """

    def __init__(self, listener: Listener, *, owned: bool, listen: bool, places: Sequence[Place]) -> None:
        self._listener = listener
        self._owned = owned
        self._listen = listen
        self._places = tuple(places)
        self.mounted = False

    def start(self) -> None:
        """Serve. Does nothing if they are served already. Raises: TransportError when the port is in use."""
        if not self._listen and not self._listener.adopted:  # adopted sockets are served even with listen=False
            return
        try:
            if not self.mounted:
                for prefix, app, shared in self._places:
                    self._listener.mount(prefix, app, shared=shared)
                self.mounted = True
            self._listener.start()
        except BaseException:
            self._unmount()
            raise

    def stop(self, grace: float) -> None:
        """Stop serving: finish running calls within `grace` seconds."""
        if self._owned:
            try:
                self._listener.stop(grace)
            finally:
                self._unmount()
        elif not self._unmount():
            self._listener.stop(grace)

    def _unmount(self) -> int:
        """Leave the listener; return how many apps it has left."""
        self.mounted = False
        return min(self._listener.unmount(app) for app in {id(place.app): place.app for place in self._places}.values())

    @property
    def accepting(self) -> bool:
        """Whether the apps, or the server that hosts them, accept connections now."""
        return self._listener.running or not self._listen


def address_on(listener: Listener, schemes: tuple[str, str], base_path: str, path: tuple[str, ...]) -> Address:
    """Return the address of a path below the base path of a portal.

    Args:
        schemes: the scheme without TLS, and with TLS.
    """
    segments = tuple(segment for segment in base_path.split("/") if segment)
    scheme = schemes[listener.secure]
    if listener.host.startswith("unix:"):
        return Address.network(scheme, "localhost", None, (*segments, *path))
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(listener.host, listener.host)
    return Address.network(scheme, host, listener.port, (*segments, *path))
