"""StoreClient: the way to a Redis or Valkey server that may be gone.

Waiting for a dead server is bounded twice: by socket timeouts, and, once it has failed, by leaving it alone for a
while, so that one call in that while waits and all others are told at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any, NoReturn, Protocol, TypeVar

from ..errors import ConfigError
from .settings import positive_seconds, seconds

__all__ = ["RedisClient", "StoreClient", "StoreUnavailable", "as_text"]

_log = logging.getLogger("portal.calls")
_Found = TypeVar("_Found")
_SCHEMES = ("redis://", "rediss://", "unix://", "valkey://", "valkeys://")
_SAY_AGAIN = 60.0  # seconds between two warnings about the same outage


class RedisClient(Protocol):
    """A client of the redis or valkey package."""

    def register_script(self, script: str) -> Any:
        """Return a callable that runs a Lua script in the store."""


class StoreUnavailable(Exception):
    """The store did not answer, or is being left alone."""


class StoreClient:
    """A shared store, and whether it can be asked.

    Args:
        source: URL (redis, rediss, unix, valkey, valkeys), or a client of the redis or valkey package; a client must
            have a socket timeout, and its own retries make the waiting longer.
        path: of the setting, for the ConfigError.
        timeout: seconds to connect, and to wait for an answer, where a URL is given.
        pause: seconds for which a store that failed is left alone.
        clock: seconds, as `time.monotonic`.

    Nothing is connected before the first use. Threads: any. Fork: the client's pool opens connections of its own.
    """

    def __init__(
        self,
        source: str | RedisClient,
        *,
        path: str,
        timeout: float = 0.5,
        pause: float = 1.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        positive_seconds("store.timeout", timeout)
        self._owned = isinstance(source, str)
        self.client: Any = _connect(source, path, timeout) if isinstance(source, str) else _checked(source, path)
        self._over_tls = _is_over_tls(self.client)
        self._pause = seconds("store.pause", pause)
        self._clock = clock
        # Written without a lock: the worst that two threads at once do is to ask, or to warn, twice.
        self._lost = False
        self._alone_until = 0.0
        self._said = float("-inf")

    def run(self, use: Callable[[Any], _Found]) -> _Found:
        """What `use` gives for the client; StoreUnavailable when the store fails or is being left alone."""
        probing = self._lost
        if probing:
            now = self._clock()
            if now < self._alone_until:
                raise StoreUnavailable("the store is left alone after a failure")
            self._alone_until = now + self._pause
        try:
            if self._over_tls:
                _clear_error_queue()
            found = use(self.client)
        except Exception as error:  # redis and valkey have an exception tree each, and both let OSError through
            self._fail(error)
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
        if probing and self._lost:  # what was asked before the failure and answered after it proves nothing
            self._lost = False
            self._said = float("-inf")
            _log.warning("the shared store answers again")
        return found

    def _fail(self, error: Exception) -> None:
        now = self._clock()
        self._alone_until = now + self._pause
        self._lost = True
        if now - self._said >= _SAY_AGAIN:
            self._said = now
            _log.warning("the shared store does not answer: %s: %s", type(error).__name__, error)

    def close(self) -> None:
        """Close the connections, if the client was made here."""
        if self._owned:
            self.client.close()


def _connect(url: str, path: str, timeout: float) -> Any:
    if not url.startswith(_SCHEMES):
        _reject(path)
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:  # pragma: no cover - the tests have it
        allowed = "pip install 'portal-functions[redis]'"
        raise ConfigError(f"{path} needs the redis package", path=path, expected=allowed) from None
    if url.startswith("valkey"):
        url = "redis" + url.removeprefix("valkey")
    try:
        # No retries: a script that counted and whose answer was lost must not count again, nor a caller wait twice.
        return Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0))
    except ValueError:
        _reject(path)


def _checked(client: Any, path: str) -> Any:
    if not callable(getattr(client, "register_script", None)):
        _reject(path)
    pool = getattr(client, "connection_pool", None)
    kwargs = getattr(pool, "connection_kwargs", {})
    if "socket_timeout" in kwargs and not kwargs["socket_timeout"]:
        raise ConfigError.invalid(path, client, "a client with a socket_timeout", secret=True)
    return client


def _is_over_tls(client: Any) -> bool:
    connection = getattr(getattr(client, "connection_pool", None), "connection_class", None)
    return any(base.__name__ == "SSLConnection" for base in getattr(connection, "__mro__", ()))


def _clear_error_queue() -> None:
    from .openssl import clear_error_queue  # imports ssl, which few stores need

    clear_error_queue()


def _reject(path: str) -> NoReturn:
    expected = 'a URL such as "redis://host:6379/0", a client of the redis or valkey package, or None'
    raise ConfigError.invalid(path, None, expected, secret=True) from None  # a URL may hold a password


def as_text(value: bytes | str) -> str:
    """What a client gave, text already or not, as its `decode_responses` is."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
