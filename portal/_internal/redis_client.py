"""StoreClient: use a Redis or Valkey server that may be unavailable.

Two bounds limit how long callers wait for a server that is down: socket timeouts, and a pause after each failure. At
the end of a pause one call tries the server; all other calls fail at once.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, NoReturn, Protocol, TypeVar
from urllib.parse import quote

from ..errors import ConfigError
from .at_fork import new_lock
from .log import get_logger
from .settings import positive_seconds, seconds
from .throttle import Throttle

__all__ = ["RedisClient", "StoreClient", "StoreUnavailable", "as_text", "namespaced_prefix", "require_namespace"]

_log = get_logger("portal.calls")
_Found = TypeVar("_Found")
_SCHEMES = ("redis://", "rediss://", "unix://", "valkey://", "valkeys://")
_WARNING_INTERVAL = 60.0  # seconds between two warnings about the same outage


class RedisClient(Protocol):
    """A client of the redis or valkey package."""

    def register_script(self, script: str) -> Any:
        """Return a callable that runs a Lua script in the store."""


class StoreUnavailable(Exception):
    """The shared store did not respond, or is not used for now after a failure."""


class StoreClient:
    """A client of a shared store, which stops using the store for a while after a failure.

    It connects at its first use.

    Args:
        source: a URL (redis, rediss, unix, valkey, valkeys), or a client of the redis or valkey package. A client must
            have a socket timeout. Its own retries add to the waiting time.
        path: the setting that `source` comes from, for the ConfigError.
        timeout: seconds to connect, and seconds to wait for a response, if a URL is given.
        pause: seconds without use after a failure.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong setting, and for a URL if the redis package is not installed.

    Threads: any. After a fork, the client's pool in the child opens connections of its own.
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
        self._lock = new_lock()  # guards changes of the two attributes below
        self._failed = False
        self._paused_until = 0.0
        self._warnings = Throttle(_WARNING_INTERVAL)

    def run(self, use: Callable[[Any], _Found]) -> _Found:
        """Call `use` with the client and return its result.

        Raises: StoreUnavailable if the store fails, or during the pause after a failure.
        """
        probing = self._failed and self._begin_probe()
        try:
            if self._over_tls:
                _clear_error_queue()
            found = use(self.client)
        except Exception as error:  # redis and valkey have different exception classes, and both also raise OSError
            self._fail(error)
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
        # A response to a request from before the failure does not show that the store is available again.
        if probing and self._end_outage():
            self._warnings.reset()
            _log.warning("the shared store responds again")
        return found

    def _begin_probe(self) -> bool:
        """Begin the next pause and return True: one of the threads tries the store. Raises: StoreUnavailable."""
        now = self._clock()
        with self._lock:
            if now < self._paused_until:
                raise StoreUnavailable("the shared store failed and is not used for now")
            self._paused_until = now + self._pause
        return True

    def _end_outage(self) -> bool:
        with self._lock:
            failed, self._failed = self._failed, False
        return failed

    def _fail(self, error: Exception) -> None:
        now = self._clock()
        with self._lock:
            self._paused_until = now + self._pause
            self._failed = True
        if self._warnings.allows(now):
            _log.warning("the shared store does not respond: %s: %s", type(error).__name__, error)

    def close(self) -> None:
        """Close the connections if this object made the client."""
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
        message, hint = f"the redis package must be installed for {path}", "pip install 'portal-functions[redis]'"
        raise ConfigError(message, path=path, hint=hint) from None
    if url.startswith("valkey"):
        url = "redis" + url.removeprefix("valkey")
    try:
        # No retries: a script whose response was lost must not count twice, and a caller must not wait twice.
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


def require_namespace(namespace: str | None, *, path: str) -> str:
    """Return the namespace of a shared store. Raises ConfigError for the setting `path` if there is none."""
    if namespace is None:
        raise ConfigError.invalid(path, namespace, "set for a shared store, unless the portal has a name=")
    return namespace


def namespaced_prefix(prefix: str, namespace: str) -> str:
    """Return the prefix of the keys of one namespace. Different namespaces have different prefixes."""
    return f"{prefix}:{quote(namespace, safe='')}"


def as_text(value: bytes | str) -> str:
    """Return a value from a client as text, whether its `decode_responses` is set or not."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
