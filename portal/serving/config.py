"""ServingConfig: the limits and timeouts of a listener, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .._internal.job_queue import KeyLimit
from .._internal.processors import count_processors
from .._internal.settings import instance, positive_seconds, seconds, whole_number
from ..errors import ConfigError
from .io.tls import TLSConfig

__all__ = ["ServingConfig"]

_SECONDS = frozenset(
    (
        *("head_timeout", "body_timeout", "idle_timeout", "write_timeout", "response_timeout"),
        *("linger", "max_wait", "grace"),
    )
)
_MAY_BE_ZERO = ("queue", "min_write_rate", "max_abandoned")
_OPTIONAL = frozenset(
    (
        *("max_streams", "max_streams_per_client", "connections_per_client", "max_handshakes"),
        *("queue_per_client", "max_running_per_function", "max_running_per_client", "max_computing", "max_abandoned"),
    )
)
_MAX_BUSY_POLL = 0.01  # seconds
_DAY = 86_400  # seconds


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """Limits and timeouts of a listener. Sizes are in bytes, times in seconds.

    Attributes:
        workers: threads that run calls.
        queue: most requests that may wait for a worker. Further requests get 503.
        max_wait: how long a request may wait for a worker. Then it gets 503.
        queue_per_client: most requests of one client that may wait for a worker; None for half of `queue`.
        max_running_per_function, max_running_per_client: most workers that calls of one function, or of one client, may
            hold. Further calls wait in the queue. A call counts until it ends, also after its deadline. If all of them
            have passed their deadlines, further calls get 503 at once. None for three quarters of `workers` for a
            function and seven eighths for a client, at least one less than there are.
        max_abandoned: most calls that run on after their deadline without holding a worker: each has a further thread.
            None for as many as `workers`.
        max_computing: most requests at a time of those that usually take more than a millisecond of processor time.
            Further ones wait, and the clients take turns. One that has run for half a second no longer counts. None
            for half of the processors, at least one: threads that compute delay each other and all other calls.
        connections: most open connections, and no more than the limit of open files allows. A further one takes the
            place of the longest idle one, of the client with the most connections first.
        connections_per_client: most open connections of one client; None for half of `connections`. Trusted proxies and
            clients of a Unix socket have no such limit.
        max_handshakes: most connections whose TLS handshake is not complete; None for a quarter of `connections`.
        backlog: most connections that the kernel holds before they are accepted.
        max_head: size of the request line and the headers.
        max_headers: number of headers of a request.
        max_target: size of the request's target, which is the URL without scheme and host.
        max_body: size of a request's body.
        max_batch_response: size of the results of one JSON-RPC batch. Calls of the batch beyond it get an error.
        max_containers: objects and arrays in the JSON of one body. A body with more gets 413 before it is decoded.
        head_timeout: from the first byte of a request, or the start of a TLS connection, to the end of the head.
        body_timeout: from the end of the head to the end of the body. A body on disk has this time for each MiB.
        idle_timeout: time after which an idle connection is closed.
        write_timeout: time after which the connection of a client that reads nothing of its response is closed.
        max_input: bytes that are kept of all requests whose body has not arrived completely, or that wait or run after
            that. Above it, the client with the most of them loses its largest request.
        max_unknown_input: bytes that are kept of requests whose callers have not been authenticated.
        max_input_on_disk: bytes of all bodies that are kept in temporary files. One client may have half of them.
            Further ones get 503.
        response_timeout: time that a client may take to read a whole response. It does not limit streams.
        min_write_rate: bytes a second that a client must read while output waits for it, averaged over write_timeout; 0
            allows any rate.
        max_output_per_connection: bytes that are kept for a client before a stream waits for it.
        max_output: bytes that are kept for all clients. Above it, the client with the most of them is cut.
        max_streams: number of streams that may be sent at a time. Further ones get 503. None leaves a quarter of the
            workers, and at least one, to other calls.
        max_streams_per_client: number of streams of one client. Further ones get 503. None leaves a quarter of the
            streams, and of the calls of a function, and at least one, to other clients.
        linger: how long a worker waits for the next request of the connection that it has just served.
        busy_poll: how long the reactor polls for the next request before it sleeps; 0 always sleeps. It polls only
            while requests usually come that fast and no worker is busy. This halves the time of short calls in a row
            and costs processor time that would be idle.
        drain_delay: how long `stop` is not ready and still accepts requests, so that load balancers notice; 0 stops to
            accept at once.
        grace: how long `stop` lets running calls finish, after that.
        socket_mode: permissions of the file of a Unix socket.
        tls: settings of TLS; None serves plain HTTP.

    Raises: ConfigError for a wrong setting.

    Threads: immutable.
    """

    workers: int = 16
    queue: int = 256
    queue_per_client: int | None = None
    max_running_per_function: int | None = None
    max_running_per_client: int | None = None
    max_abandoned: int | None = None
    max_computing: int | None = None
    connections: int = 10_000
    connections_per_client: int | None = None
    max_handshakes: int | None = None
    backlog: int = 512
    max_head: int = 32 * 1024
    max_headers: int = 100
    max_target: int = 8 * 1024
    max_body: int = 1024 * 1024
    max_containers: int = 100_000
    max_batch_response: int = 8 * 1024 * 1024
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 60.0
    write_timeout: float = 30.0
    max_wait: float = 30.0
    max_input: int = 64 * 1024 * 1024
    max_unknown_input: int = 16 * 1024 * 1024
    max_input_on_disk: int = 4 * 1024 * 1024 * 1024
    response_timeout: float = 300.0
    min_write_rate: int = 1024
    max_output_per_connection: int = 1024 * 1024
    max_output: int = 64 * 1024 * 1024
    max_streams: int | None = None
    max_streams_per_client: int | None = None
    linger: float = 0.005
    busy_poll: float = 150e-6
    drain_delay: float = 0.0
    grace: float = 5.0
    socket_mode: int = 0o600
    tls: TLSConfig | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            setting, value = f"serving.{field.name}", getattr(self, field.name)
            if field.name == "tls":
                instance(setting, value, TLSConfig, optional=True)
            elif field.name == "busy_poll":
                seconds(setting, value, maximum=_MAX_BUSY_POLL)
            elif field.name == "drain_delay":
                seconds(setting, value, maximum=_DAY)
            elif field.name in _SECONDS:
                positive_seconds(setting, value, below=_DAY)
            elif field.name == "socket_mode":
                whole_number(setting, value, minimum=0, maximum=0o777)
            else:
                whole_number(
                    setting,
                    value,
                    minimum=0 if field.name in _MAY_BE_ZERO else 1,
                    optional=field.name in _OPTIONAL,
                )

    @property
    def streams(self) -> int:
        """The number of streams that may be sent at a time."""
        if self.max_streams is not None:
            return self.max_streams
        return max(1, self.workers - max(1, self.workers // 4))

    @property
    def streams_per_client(self) -> int:
        """The number of streams that may be sent to one client at a time."""
        if self.max_streams_per_client is not None:
            return self.max_streams_per_client
        places = min(self.streams, self.key_limits()["function"].running or self.streams)
        return max(1, places - max(1, places // 4))

    @property
    def abandoned(self) -> int:
        """The number of calls that may run on after their deadline without a worker."""
        return self.workers if self.max_abandoned is None else self.max_abandoned

    @property
    def computing(self) -> int:
        """The number of requests that may keep a processor busy at a time."""
        return max(1, count_processors() // 2) if self.max_computing is None else self.max_computing

    @property
    def waiting_per_client(self) -> int:
        """The number of requests of one client that may wait for a worker."""
        return (self.queue + 1) // 2 if self.queue_per_client is None else self.queue_per_client

    def key_limits(self, threads: int | None = None) -> dict[str, KeyLimit]:
        """Return how many calls of one function and one client may run and wait.

        Args:
            threads: of the pool that runs the calls; None for `workers`.
        """
        count = self.workers if threads is None else threads
        per_client = self.max_running_per_client or max(1, count - max(1, count // 8))
        share = min(count - max(1, count // 4), per_client - 1)  # another function of the client gets through, too
        per_function = self.max_running_per_function or max(1, share)
        return {
            "function": KeyLimit(per_function),
            "client": KeyLimit(per_client, self.waiting_per_client),
            "identity": KeyLimit(per_client),
        }

    @classmethod
    def development(cls, **changes: Any) -> ServingConfig:
        """Return a config with few workers and short timeouts, so that slow or stuck code shows at once.

        Args:
            changes: fields that differ from the preset.
        Raises: ConfigError.
        """
        return cls._preset({"workers": 4, "queue": 32, "connections": 256, "idle_timeout": 15.0, "grace": 0.5}, changes)

    @classmethod
    def production(cls, **changes: Any) -> ServingConfig:
        """Return a config for many connections, with a long queue and a long grace, otherwise with the defaults.

        Args:
            changes: fields that differ from the preset.
        Raises: ConfigError.
        """
        preset = {"workers": 32, "queue": 1024, "connections": 20_000, "backlog": 2048, "grace": 25.0}
        return cls._preset(preset, changes)

    @classmethod
    def _preset(cls, preset: dict[str, Any], changes: dict[str, Any]) -> ServingConfig:
        known = [field.name for field in fields(cls)]
        for name in changes:
            if name not in known:
                words = ", ".join(known)
                raise ConfigError(f"ServingConfig has no setting {name}", path=f"serving.{name}", expected=words)
        return cls(**(preset | changes))
