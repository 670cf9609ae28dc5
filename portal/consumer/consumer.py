"""Consumer: calls anything by address."""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.executor import WorkerPool
from .._internal.settings import instance, positive_seconds
from ..address import Address
from ..auth.credentials import Credential, credentials_of
from ..cache.response_cache import ResponseCache
from ..calls.deadlines import expired_error
from ..calls.middleware import Call, Middleware, build_chain
from ..calls.plugins import close_middleware, resolve_middleware
from ..context import CallContext
from ..errors import ConfigError, ConsumerError, OverloadedError, PortalError, RegistryError, ValidationError
from ..function import Function
from ..local.portal import LocalFunction
from ..portal import Resolver, in_process_portals, topology
from ..registry.portals import PortalRegistry, resolve_first
from ..schema import Schema
from .pending import PendingFunction
from .schemes import make_resolver

if TYPE_CHECKING:
    from ..http.client.client import HTTPClient

__all__ = ["Consumer"]

ResolverT = TypeVar("ResolverT", bound=Resolver)

_log = logging.getLogger("portal.consumer")
_CACHE_SIZE = 1024
_CONTRACT_SECONDS = 60.0  # a server that was redeployed is asked for its new contract after this at the latest


def _send(call: Call) -> Any:
    if isinstance(call.function, PendingFunction):
        call.function = call.function.ask(call.context)  # a later attempt of the call knows it
    if call.streaming:
        return call.function.iterate(call.params, call.context)
    return call.function.invoke(call.params, call.context)


class Consumer:
    """Calls functions by address.

    `Consumer()` is ready for every scheme: in-process portals (local, test) that are alive are found by themselves, and
    remote ones are connected to on first use. `Consumer(portals=[...])` sees those portals alone.

    Args:
        portals: the only portals to use; empty means as said above. `auth` and `cache` hold for their calls too, where
            an HTTPPortal's own HTTPClient has no others.
        middleware: around every call on this side, the first outermost, and around asking for the contract, which the
            first call to a remote address does; a name stands for what a package offers under
            it (`portal.calls.plugins`).
        auth: what is sent so that servers know who calls: a bearer token, (user, password), headers by name such as
            {"X-API-Key": key}, a callable of the address, or a credential of `portal.auth.credentials`. A plain value
            goes to every server called: ByAuthority sends each secret to its own server only.
        cache: keeps answers of functions declared cacheable.
        executor: for `submit_at` and `map_at`; None makes a bounded pool of 32 threads on first use.
        timeout: seconds for a remote call that is given no timeout and inherits no deadline; None waits for ever.
            A call inside this process that is given none has none.

    Raises: ConfigError for a setting of the wrong kind.

    Threads: any; one Consumer serves a whole process. Its own threads end with it, closed or not, when its calls are
    done. Fork: a child opens connections and threads of its own.
    """

    def __init__(
        self,
        resolvers: Iterable[Resolver] | None = None,
        *,
        portals: Iterable[Resolver] = (),
        http: HTTPClient | None = None,
        auth: Any = None,
        cache: ResponseCache | None = None,
        middleware: Iterable[Middleware | str] = (),
        executor: Executor | None = None,
        timeout: float | None = 30.0,
    ) -> None:
        credential = None if auth is None else credentials_of(auth)
        cache = instance("consumer.cache", cache, ResponseCache, optional=True)
        given = [*_resolvers("resolvers", () if resolvers is None else resolvers), *_resolvers("portals", portals)]
        self._given = PortalRegistry(given)
        self._only_given = bool(given)
        if credential is not None or cache is not None:
            _require_own_credentials(given)
        self._timeout = timeout = positive_seconds("consumer.timeout", timeout, optional=True)
        self._middleware = resolve_middleware(middleware)
        self._chain = build_chain(self._middleware, _send)
        self._executor = executor
        self._own_pool: WorkerPool | None = None
        self._credential, self._cache = credential, cache
        self._configured: dict[str, Resolver] = {}  # of http=; it opens connections of its own in a child process
        if http is not None:
            resolver = _http_resolver(http, credential, cache, timeout)
            self._configured = dict.fromkeys(resolver.schemes, resolver)
        self._own = dict(self._configured)  # made by this consumer, most on first use
        self._resolved: dict[str, tuple[float, Function]] = {}
        self._near: dict[Address | str, LocalFunction] = {}  # functions of this process called before, and
        self._near_since = -1  # the number of changes at which they were looked up
        self._lock = new_lock()  # guards what is created on first use; not held over I/O
        self._closed = False
        renew_after_fork(self)

    # calling

    def call_at(
        self,
        address: Address | str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        context: CallContext | None = None,
        returns: Any = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Call the function at an address and wait for its answer.

        Args:
            params: JSON data by parameter name.
            timeout: seconds for the whole call; the lesser of it and what the running call has left holds.
            context: what the call is nested in; the running call's context when None.
            returns: a type to load the result into (`Invoice`, `Invoice | None`, `list[Invoice]`); plain JSON data when
                None.
            idempotency_key: under which a server with `Idempotency` runs the call once, however often it is sent.
        Returns: JSON data, equal at every address.
        Raises: portal errors only. ValidationError before the call is sent, where the schema is known (it is asked for
            again where it has been known for a while), and for an answer that `returns` does not fit; RegistryError for
            an unknown function; CallTimeout in time; TransportError, whose `may_have_executed` says whether sending it
            again is safe; FunctionError for what the function raised.
        """
        near = self._near.get(address) if timeout is None and topology.version == self._near_since else None
        if near is not None and not self._middleware and idempotency_key is None:
            result = near.invoke({} if params is None else params, CallContext.for_call(None, context))
            return result if returns is None else _loaded(result, returns, near.name)
        call = self._prepare(address, params, timeout, context, False)
        if idempotency_key is not None:
            call.context.idempotency_key = idempotency_key
        try:
            result = self._chain(call)
        except RegistryError:
            self._resolved.pop(str(address), None)  # nothing may be there any more: ask again next time
            raise
        return result if returns is None else _loaded(result, returns, call.function.name)

    def stream_at(
        self,
        address: Address | str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        context: CallContext | None = None,
    ) -> Iterator[Any]:
        """The items of a streaming function, as JSON data, each as it comes.

        The parameters are checked before this returns. Closing the iterator ends the call and stops the generator.
        The timeout is for the whole stream.
        """
        call = self._prepare(address, params, timeout, context, True)
        items: Iterator[Any] = self._chain(call)
        return items

    def submit_at(self, address: Address | str, params: Mapping[str, Any] | None = None, **options: Any) -> Future[Any]:
        """`call_at` in a worker thread; OverloadedError at once when the pool and its queue are full."""
        return self._workers().submit(self.call_at, address, params, **options)

    def map_at(
        self,
        address: Address | str,
        params: Iterable[Mapping[str, Any]],
        *,
        max_in_flight: int = 32,
        timeout: float | None = None,
    ) -> Iterator[Any]:
        """The results for each of `params`, in order, at most `max_in_flight` calls at a time.

        `params` may be endless: it is read as results are taken. The first failure is raised in its place and what is
        in flight is cancelled. The timeout is for each call. Where the pool has no room for so many, fewer are
        in flight.

        Raises, as results are taken: OverloadedError when the pool has room for none; what the calls raise.
        """
        if max_in_flight < 1:
            raise ValidationError(f"max_in_flight is {max_in_flight}; it must be at least 1")
        return self._map(address, iter(params), max_in_flight, timeout)

    def _map(
        self, address: Address | str, params: Iterator[Mapping[str, Any]], limit: int, timeout: float | None
    ) -> Iterator[Any]:
        flying: deque[Future[Any]] = deque()
        try:
            for one in params:
                while (future := self._submit_if_room(address, one, timeout)) is None:
                    if not flying:
                        raise OverloadedError("every worker of the consumer is busy with other calls", retry_after=1.0)
                    yield flying.popleft().result()
                flying.append(future)
                if len(flying) >= limit:
                    yield flying.popleft().result()
            while flying:
                yield flying.popleft().result()
        finally:
            for future in flying:
                future.cancel()

    def _submit_if_room(
        self, address: Address | str, params: Mapping[str, Any], timeout: float | None
    ) -> Future[Any] | None:
        try:
            return self.submit_at(address, params, timeout=timeout)
        except OverloadedError:
            return None

    def notify_at(
        self,
        address: Address | str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        context: CallContext | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Call without wanting an answer: it is sent in a worker, and a failure is logged.

        Raises: what can be told at once: AddressError, OverloadedError, RegistryError for an address of this process.
        """
        call = self._prepare(address, params, timeout, context, False)
        if idempotency_key is not None:
            call.context.idempotency_key = idempotency_key
        future = self._workers().submit(self._chain, call)
        future.add_done_callback(lambda done: _log_failure(call, done))

    # resolving

    def resolve(self, address: Address | str) -> Function:
        """The Function at an address; call it as `function(a=1, b=2)`.

        It may be kept: where the server is deployed anew with another contract, it follows (`RemoteFunction`).

        Raises: AddressError, RegistryError (not_found), TransportError when its server cannot be asked.
        """
        target = Address.of(address)
        return resolve_first(self._resolvers_for(target), target)

    def list_at(self, address: Address | str) -> dict[str, Any]:
        """What is published at a base address: `{"functions": [...], "services": [...]}`, a row each, as JSON data."""
        target = Address.of(address)
        *others, last = self._resolvers_for(target)
        for resolver in others:
            try:
                return resolver.list_at(target)
            except RegistryError:
                continue
        return last.list_at(target)

    def _prepare(
        self,
        address: Address | str,
        params: Mapping[str, Any] | None,
        timeout: float | None,
        context: CallContext | None,
        streaming: bool,
    ) -> Call:
        key = address if isinstance(address, str) else str(address)
        known = self._resolved.get(key)
        if known is not None and known[0] > monotonic():
            function = known[1]
            travelling = CallContext.for_call(self._timeout if timeout is None else timeout, context)
        else:
            target = Address.of(address)
            resolvers = self._resolvers_for(target)
            remote = not resolvers[0].in_process
            travelling = CallContext.for_call(self._timeout if timeout is None and remote else timeout, context)
            function = self._pending(key, target, resolvers, known) if remote else self._look_up(key, target, resolvers)
        if travelling.expired:
            raise expired_error(travelling, function.name)
        return Call(function, {} if params is None else params, travelling, function.address, streaming)

    def _look_up(self, key: str, target: Address, resolvers: Sequence[Resolver]) -> Function:
        """The function of this process to send to, kept for as long as its portal is what it was."""
        seen = topology.version
        function = resolve_first(resolvers, target)
        if isinstance(function, LocalFunction):
            if self._near_since != seen or len(self._near) >= _CACHE_SIZE:
                self._near = {}
                self._near_since = seen
            self._near[key] = function
        return function

    def _pending(
        self, key: str, target: Address, resolvers: Sequence[Resolver], known: tuple[float, Function] | None
    ) -> Function:
        """A remote function whose contract the call itself asks for, inside of the middleware."""
        schema = None if known is None else known[1].schema
        return PendingFunction(target, lambda context: self._ask(key, target, resolvers, context), schema)

    def _ask(self, key: str, target: Address, portals: Iterable[Resolver], context: CallContext) -> Function:
        """The remote function to send to, within the call's deadline; its contract is kept for a while."""
        with context.active():
            function = resolve_first(portals, target)
        if len(self._resolved) >= _CACHE_SIZE:
            self._resolved.clear()
        self._resolved[key] = (monotonic() + _CONTRACT_SECONDS, function)
        return function

    def _resolvers_for(self, address: Address) -> Sequence[Resolver]:
        self._require_open()
        scheme = address.scheme
        if scheme in self._given.schemes():
            return self._given.get(scheme)
        if scheme in self._own:
            return (self._own[scheme],)
        if self._only_given:
            return self._given.get(scheme)
        return in_process_portals(address.scheme) or (self._own_resolver(address.scheme),)

    def _own_resolver(self, scheme: str) -> Resolver:
        """Return this consumer's own resolver for a scheme: built in, or of a plug-in."""
        resolver = self._own.get(scheme)
        if resolver is None:
            made = make_resolver(scheme, self._built_in)
            with self._lock:
                resolver = made if self._closed else self._own.setdefault(scheme, made)
                if resolver is made and not self._closed:
                    self._own = {**dict.fromkeys(made.schemes, made), **self._own}
            if resolver is not made or self._closed:
                made.close()  # nobody would close it later
            self._require_open()
        return resolver

    def _built_in(self, scheme: str) -> Resolver | None:
        if scheme in ("http", "https"):
            return _http_resolver(None, self._credential, self._cache, self._timeout)
        return None

    def _require_open(self) -> None:
        if self._closed:
            raise ConsumerError("the consumer is closed", advice="make a new Consumer")

    def _workers(self) -> Executor:
        self._require_open()
        if self._executor is not None:
            return self._executor
        with self._lock:
            if self._own_pool is None:
                self._require_open()
                pool = self._own_pool = WorkerPool(32, 1024, name="portal-consumer")
                # The threads keep the pool alive, and would outlive a consumer that nobody closed. What is queued runs.
                weakref.finalize(self, pool.shutdown, wait=False).atexit = False
            return self._own_pool

    def after_fork(self) -> None:
        """Let go of the parent's connections and threads; a child process does so by itself.

        The child must not write on these connections, nor close them politely.
        """
        self._own = dict(self._configured)
        self._resolved = {}
        self._near = {}
        self._own_pool = None

    # arranging

    def use(self, middleware: Middleware | str) -> Consumer:
        """Add a middleware, or a plug-in by its name, inside those already there; running calls keep theirs."""
        added = resolve_middleware([middleware])
        with self._lock:
            self._middleware = (*self._middleware, *added)
            self._chain = build_chain(self._middleware, _send)
        return self

    def register(self, resolver: ResolverT) -> ResolverT:
        """Use a resolver for its schemes, before any other, and return it. The consumer does not close it."""
        self._given.register(resolver)
        self._resolved.clear()
        self._near.clear()
        return resolver

    register_portal = register

    def resolvers(self) -> list[Resolver]:
        """Return the resolvers given and those made so far."""
        return list(dict.fromkeys([*self._given.portals(), *self._own.values()]))

    portals = resolvers

    def close(self) -> None:
        """Close connections, threads and middleware; portals that were given stay open. May be called twice."""
        self._closed = True
        with self._lock:
            pool, self._own_pool = self._own_pool, None
            own, self._own = list(dict.fromkeys(self._own.values())), {}
            self._resolved = {}
            self._near = {}
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        for resolver in own:
            resolver.close()
        close_middleware(self._middleware)

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _resolvers(setting: str, given: Any) -> list[Resolver]:
    if isinstance(given, Resolver | str) or not isinstance(given, Iterable):
        raise ConfigError.invalid(f"consumer.{setting}", given, "a list of resolvers or portals")
    found = list(given)
    for one in found:
        if not isinstance(one, Resolver):
            expected = "a resolver or portal; for a URL pass the address to call_at"
            raise ConfigError.invalid(f"consumer.{setting}", one, expected)
    return found


def _require_own_credentials(given: Iterable[Resolver]) -> None:
    """Reject a credential or cache beside a resolver that would not use it."""
    for one in given:
        if not one.in_process:
            expected = "left out where remote resolvers are given: HTTPResolver(HTTPClient(auth=..., cache=...))"
            raise ConfigError(f"auth and cache must be {expected}", path="auth", expected=expected)


def _http_resolver(
    http: HTTPClient | None, credential: Credential | None, cache: ResponseCache | None, timeout: float | None
) -> Resolver:
    from ..http.client.client import HTTPClient
    from ..http.client.resolver import HTTPResolver

    client = instance("consumer.http", http, HTTPClient, optional=True) or HTTPClient(timeout=timeout)
    return HTTPResolver(client.with_credentials(credential, cache))


def _loaded(result: Any, returns: Any, name: str) -> Any:
    try:
        return Schema.of(returns).load(result)
    except ValidationError as error:
        words = f"what {name} answered does not fit returns={getattr(returns, '__name__', returns)}: {error}"
        raise ValidationError(words, errors=error.errors) from None


def _log_failure(call: Call, done: Future[Any]) -> None:
    error = None if done.cancelled() else done.exception()
    if isinstance(error, PortalError):
        _log.warning("notification of %s failed: %s", call.function.name, error)
    elif error is not None:
        _log.error("notification of %s failed", call.function.name, exc_info=error)
