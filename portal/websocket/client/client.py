"""WebSocketClient: calls, streams and subscriptions over connections that many threads share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..._internal.closing import ClosingIterator
from ..._internal.json_text import JSONValue
from ..._internal.settings import callback, choice, count, flag, instance, positive_seconds, require, size
from ...address import Address
from ...auth.credentials import ClientAuth, Credential, credentials_of
from ...cache.cached_calls import CachedCalls, Fetched
from ...cache.response_cache import ResponseCache
from ...calls.deadlines import cancelled_error, expired_error, uncalled_error
from ...context import CallContext
from ...errors import (
    CallCancelled,
    CallTimeout,
    Fault,
    PortalError,
    ProtocolError,
    SerializationError,
    TransportError,
    ValidationError,
)
from ...function import Function, ResolvedFunction
from ...network.function import check_input, schema_at
from ...network.proxies import Proxies
from ...network.tls import ClientTLS
from ...schema import FunctionSchema
from ..call_group import call_together, context_to_send
from ..deflate import Deflate
from .backoff import Reconnect
from .dialer import Dialer
from .exchange import Exchange, StreamExchange, expiry
from .failures import locate
from .lifecycle import ConnectionState
from .link import Link
from .pool import LinkPool, dial_threads, function_threads, run_callback
from .reader import shared_reader
from .served import ServedFunctions
from .settings import LinkSettings
from .subscription import SlowReader, Subscription, is_position

__all__ = ["WebSocketClient"]

StateObserver = Callable[[Address, ConnectionState, ConnectionState], object]


class WebSocketClient:
    """Send calls to WebSocket servers; the transport of resolved functions.

    Many threads share a connection, and their calls may overtake each other. One thread reads for all clients of the
    process. A lost connection comes back by itself while calls or subscriptions need it.

    A call that was not sent yet waits for one attempt to connect, within its deadline. If that fails, the call fails at
    once, or waits on for `Reconnect.patience`. A call that was sent gets its one response after a reconnect to the same
    server; if the server has lost the session, the call fails with `may_have_executed`, or is sent once more if it is
    idempotent. A stream ends with its connection.

    Args:
        connect_timeout: seconds to connect, TLS and handshake included.
        timeout: seconds for a call without a deadline, such as fetching a schema; None for no limit.
        connections: connections to each portal.
        max_response_size: bytes of a received message.
        max_message_size: bytes of a message to send; the server's limit is 1 MiB by default.
        validate: reject parameters that do not fit the schema before they are sent.
        tls: trusted authorities and the client's certificate for wss.
        proxy: as for `HTTPClient`; the proxy opens a tunnel (CONNECT).
        auth: as for `HTTPClient`; it is sent in the handshake.
        cache: keeps the responses of functions declared cacheable, for its `default_age`; None for no cache.
        deflate: settings of compression (permessage-deflate); None for none.
        reconnect: when a lost connection comes back.
        heartbeat: seconds of silence after which the server gets a ping; twice as many end the connection. None for
            neither.
        sessions: whether calls in flight survive a lost connection.
        functions: functions, or plain callables with hints, that the servers may call over the connections.
        on_state: callable (address, old, new) for each change of the state of a connection, in a thread of its own.

    Raises: ConfigError for a wrong setting.

    Threads: any; connections are shared. Fork: a child process opens connections of its own.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 5.0,
        timeout: float | None = 30.0,
        connections: int = 1,
        max_response_size: int = 64 * 1024 * 1024,
        max_message_size: int = 1024 * 1024,
        validate: bool = True,
        tls: ClientTLS | None = None,
        proxy: str | None = None,
        auth: ClientAuth = None,
        cache: ResponseCache | None = None,
        deflate: Deflate | None = None,
        reconnect: Reconnect | None = None,
        heartbeat: float | None = 20.0,
        sessions: bool = True,
        functions: Iterable[Function | Callable[..., Any]] = (),
        on_state: StateObserver | None = None,
    ) -> None:
        self.timeout = positive_seconds("client.timeout", timeout, optional=True)
        self._validate = flag("client.validate", validate)
        self._tls = instance("client.tls", tls, ClientTLS, optional=True) or ClientTLS()
        self._proxies = Proxies(proxy)
        self._on_state = callback("client.on_state", on_state) if on_state is not None else None
        self._connections = count("client.connections", connections)
        self._dialing: dict[str, Any] = {
            "connect_timeout": positive_seconds("client.connect_timeout", connect_timeout),
            "max_message_size": size("client.max_response_size", max_response_size),
            "deflate": instance("client.deflate", deflate, Deflate, optional=True),
        }
        self._settings = LinkSettings(
            reconnect=instance("client.reconnect", reconnect, Reconnect, optional=True) or Reconnect(),
            heartbeat=positive_seconds("client.heartbeat", heartbeat, optional=True),
            max_message_size=size("client.max_message_size", max_message_size),
            sessions=flag("client.sessions", sessions),
        )
        served = ServedFunctions(functions, function_threads)
        self._functions = served if len(served) else None
        kept = instance("client.cache", cache, ResponseCache, optional=True)
        self._use(None if auth is None else credentials_of(auth), kept)

    def _use(self, credential: Credential | None, cache: ResponseCache | None) -> None:
        self._credential, self._cache = credential, cache
        self._cached = None if cache is None else CachedCalls(cache)
        self._dialer = Dialer(self._tls, self._proxies, credential, **self._dialing)
        self._links = LinkPool(self._make_link, self._connections)

    def with_credentials(self, auth: Credential | None, cache: ResponseCache | None = None) -> WebSocketClient:
        """Return a client with a credential and a cache where this one has none. It has connections of its own."""
        credential = self._credential or auth
        kept = cache if self._cache is None else self._cache
        if credential is self._credential and kept is self._cache:
            return self
        other = copy.copy(self)
        other._use(credential, kept)
        return other

    def _make_link(self, address: Address) -> Link:
        observe = None
        if (notify := self._on_state) is not None:

            def observe(old: ConnectionState, new: ConnectionState) -> None:
                run_callback(notify, address, old, new)

        return Link(
            address,
            self._dialer,
            shared_reader(),
            dial_threads(),
            self._settings,
            observe=observe,
            functions=self._functions,
        )

    def close(self) -> None:
        """Close the connections; those with calls in flight close after their responses. Subscriptions end."""
        self._links.close()

    def connections(self) -> list[tuple[Address, ConnectionState]]:
        """Return the address and the state of each connection."""
        return [(link.address, link.state) for link in self._links.all()]

    # describing

    def describe(self, address: Address) -> FunctionSchema:
        """Return the schema of the function at an address.

        Raises: RegistryError (not_found) when no function is there; TransportError and other portal errors.
        """
        return schema_at(self._get(address, is_base=False), address)

    def get(self, address: Address) -> JSONValue:
        """Return what the server says about an address: a listing, a service, a function or a topic.

        Raises: portal errors only, which say that no function was called.
        """
        return self._get(address, is_base=True)

    def _get(self, address: Address, *, is_base: bool) -> JSONValue:
        context, outer = CallContext.for_call(self.timeout), CallContext.current()
        context.fail_fast = outer is not None and outer.fail_fast  # the schema is fetched for that call
        exchange = Exchange(address, None, context, idempotent=True, method="rpc.describe", named="path")
        try:
            return self._call(exchange, address, is_base=is_base)
        except PortalError as error:
            if error.may_have_executed and isinstance(error, CallTimeout):
                raise uncalled_error(context, str(address)) from error
            if error.may_have_executed:
                error.delivery, error.hint = "not_sent", "the function was not called"
                error.retryable |= isinstance(error, TransportError)
            raise

    # calling

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """Send one call and return its result. Raises portal errors only."""
        address, schema = function.address, function.schema
        assert address is not None
        if schema.streaming:
            words = f"{function.name} is a stream; iterate it with stream or stream_at"
            raise ProtocolError(words, status=406, address=address)
        given = self._checked(function, params, context)
        if not schema.cacheable or self._cached is None:
            return self._call(Exchange(address, given, context, idempotent=schema.idempotent), address)

        def fetch(context: CallContext, entry: object) -> Fetched:
            return Fetched(self._call(Exchange(address, given, context, idempotent=True), address))

        scope = repr((sorted(self._dialer.credentials(address).items()), self._tls))
        return self._cached.call(function, address, given, scope, context, fetch)

    def call_batch(
        self, function: ResolvedFunction, params: Sequence[Mapping[str, Any]], context: CallContext
    ) -> dict[int, Any] | None:
        """Make calls of one function together; see `call_together`. Return None if the function does not allow it."""
        address, schema = function.address, function.schema
        assert address is not None
        if not schema.idempotent or schema.streaming or (schema.cacheable and self._cached is not None):
            return None

        sent = context_to_send(context)

        def make(one: Mapping[str, Any]) -> Exchange:
            return Exchange(address, self._checked(function, one, context), sent, idempotent=True)

        link, has_credential = self._links.link_for(address), self._credential is not None
        return call_together(link, params, make, context, has_credential=has_credential)

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Send one streaming call and return its items as they arrive. Raises portal errors only."""
        address = function.address
        assert address is not None
        if not function.streaming:
            raise ProtocolError(f"{function.name} is not a stream; call it", status=406, address=address)
        exchange = StreamExchange(address, self._checked(function, params, context), context)
        link = self._start(exchange, address)
        context.on_cancel(lambda: link.give_up(exchange, cancelled_error(context)))
        return _Items(self, link, exchange, address)

    def _checked(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> dict[str, Any]:
        given = params if type(params) is dict else dict(params)
        if self._validate:
            check_input(function, given, context)
        return given

    def _call(self, exchange: Exchange, address: Address, *, is_base: bool = False) -> JSONValue:
        context, link = exchange.context, self._start(exchange, address, is_base=is_base)

        def give_up() -> None:
            link.give_up(exchange, cancelled_error(context))

        context.on_cancel(give_up)
        try:
            self._wait(exchange, link, address)
        finally:
            context.forget(give_up)  # it refers to the context, and only the garbage collector would free both
        if exchange.error is not None:
            raise self._located(exchange.take_error(), context, address)
        return exchange.result

    def _start(self, exchange: Exchange, address: Address, *, is_base: bool = False) -> Link:
        context = exchange.context
        if context.cancelled:
            raise CallCancelled("the caller cancelled the call", address=address, delivery="not_sent")
        if context.expired:
            raise expired_error(context, str(address))
        link = self._links.link_for(address, is_base=is_base)
        if not link.wait_for_room(context.deadline):
            raise expired_error(context, str(address))
        try:
            link.start(exchange)
        except SerializationError as error:
            # A ValidationError, as where the function runs in this process.
            raise ValidationError(errors=[Fault("", str(error), "json", None)]) from None
        return link

    def _wait(self, exchange: Exchange, link: Link, address: Address) -> None:
        """Wait for a response, an item of a stream or the end of the call, until the deadline."""
        context = exchange.context
        try:
            if link.wait(exchange, context.deadline):
                return
        except BaseException:  # a signal stopped the caller, which no longer needs the result
            link.give_up(exchange, cancelled_error(context))
            raise
        link.give_up(exchange, expiry(exchange, link.last_error, address))
        context.cancel()

    def _located(self, error: PortalError, context: CallContext, address: Address) -> PortalError:
        return locate(error, address, context, has_credential=self._credential is not None)

    # topics

    def subscribe(
        self,
        address: Address | str,
        params: Mapping[str, Any] | None = None,
        *,
        resume: bool = True,
        slow: SlowReader = "close",
        max_bytes: int = 1024 * 1024,
        load: Callable[[JSONValue], Any] | None = None,
        since: tuple[str, int] | None = None,
        timeout: float | None = None,
    ) -> Subscription[Any]:
        """Subscribe to the topic at an address, and wait until the server has confirmed it.

        Args:
            params: the parameters of the subscription, as JSON data.
            resume, slow, max_bytes, load, since: see `Subscription`.
            timeout: seconds to wait for the server; None for that of the client.

        Raises: portal errors only.
        """
        target = Address.of(address)
        require(is_position(since), "subscribe.since", since, "the position of a subscription, such as (epoch, 7)")
        link = self._links.link_for(target)
        subscription: Subscription[Any] = Subscription(
            target,
            params,
            resume=flag("subscribe.resume", resume),
            slow=choice("subscribe.slow", slow, ("close", "drop_oldest", "latest", "block")),
            max_bytes=size("subscribe.max_bytes", max_bytes),
            load=load,
            close=link.unsubscribe,
            grant=link.grant_events,
            since=since,
        )
        limit = positive_seconds("subscribe.timeout", self.timeout if timeout is None else timeout, optional=True)
        link.subscribe(subscription)
        if not subscription.wait_until_begun(limit):
            subscription.close()
            words = f"{target} did not confirm the subscription in time"
            raise CallTimeout(words, timeout=limit, address=target, delivery="not_sent")
        return subscription

    def publish(
        self, address: Address | str, data: JSONValue, *, key: str | None = None, context: CallContext | None = None
    ) -> tuple[str, int] | None:
        """Publish data to the topic at an address, where its server allows clients to.

        Returns: epoch and offset of the event, if the server tells them.
        Raises: portal errors only.
        """
        target = Address.of(address)
        params: dict[str, JSONValue] = {"data": data} if key is None else {"data": data, "key": key}
        call_context = CallContext.for_call(self.timeout) if context is None else context
        found = self._call(Exchange(target, params, call_context, method="rpc.publish", named="topic"), target)
        if isinstance(found, dict) and isinstance(found.get("epoch"), str) and isinstance(found.get("offset"), int):
            return str(found["epoch"]), int(found["offset"])  # type: ignore[arg-type]
        return None


class _Items(ClosingIterator):
    """The items of a stream. Threads: one at a time."""

    __slots__ = ("_address", "_client", "_closed", "_exchange", "_link")

    def __init__(self, client: WebSocketClient, link: Link, exchange: StreamExchange, address: Address) -> None:
        super().__init__(None)
        self._client = client
        self._link = link
        self._exchange = exchange
        self._address = address
        self._closed = False

    def __next__(self) -> Any:
        exchange = self._exchange
        while not self._closed:
            found, item, grant = exchange.take()
            if grant:
                self._link.grant(exchange, grant)
            if found:
                return item
            if exchange.finished:
                if exchange.error is not None:
                    raise self._client._located(exchange.take_error(), exchange.context, self._address)
                break
            self._client._wait(exchange, self._link, self._address)
        raise StopIteration

    def close(self) -> None:
        """End the call, which stops the generator on the server."""
        self._closed = True
        self._link.give_up(self._exchange, cancelled_error(self._exchange.context))

    def __del__(self) -> None:
        with suppress(Exception):
            if not self._exchange.finished:
                self.close()
