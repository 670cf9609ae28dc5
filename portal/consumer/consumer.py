"""Consumer: call functions by address."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from .._internal.at_fork import new_lock
from .._internal.closing import close_resource
from .._internal.settings import instance, positive_seconds
from ..address import Address
from ..auth.credentials import ClientAuth, credentials_of
from ..cache.response_cache import ResponseCache
from ..calls.middleware import Middleware
from ..calls.plugins import resolve_middleware
from ..context import CallContext
from ..directory.base import Directory
from ..function.returns import load_items, load_result
from ..portal import Resolver, topology
from ..resilience.policy import Policy
from . import signatures
from .batches import Batch, has_retry, map_in_chunks, submit_call, together
from .checked_directory import checked_directory, guarded
from .explain import Explainer, Explanation
from .function_cache import FunctionCache
from .new_calls import CallFactory, call_and_load
from .objects.resolved import ResolvedFunctions, ResolvingMethods
from .remote import RemoteResolvers
from .resolvers import ResolverTable, check_resolvers, require_own_credentials
from .signatures import typed_as
from .stages import Stages
from .targets import GroupTable, Target
from .topics import Topics
from .workers import CallWorkers, log_failure

if TYPE_CHECKING:
    from ..http.client.client import HTTPClient
    from ..websocket.client.client import WebSocketClient
    from ..websocket.client.subscription import SlowReader, Subscription

__all__ = ["Consumer"]

ResolverT = TypeVar("ResolverT", bound=Resolver)


class Consumer(ResolvingMethods):
    """Call functions by address.

    `Consumer()` is ready for every scheme. It finds the open portals of this process by itself, and connects to servers
    on first use. `Consumer([portal])` sees only the portals and resolvers that it is given.

    Args:
        resolvers, portals: the only resolvers and portals to use; empty for every scheme.
        http: settings for http:// and https:// addresses: TLS, proxy, Unix sockets, timeouts. `auth` and `cache` also
            apply to its calls, unless it has its own.
        websocket: settings for ws:// and wss:// addresses: TLS, proxy, timeouts, when a lost connection comes back.
            `auth` also applies to its handshakes, unless it has its own.
        auth: the credential to send: a bearer token, (user, password), headers by name such as {"X-API-Key": key}, a
            callable of the address, or a credential of `portal.auth.credentials`. A plain value goes to every server
            that is called; ByAuthority sends each secret to its own server only.
        cache: keeps the responses of functions declared cacheable.
        directory: where `call` looks up names: a Directory, or a URL for `portal.directory.open_directory`.
        policy: how calls are made: timeout, retries, breaker, balancing. A call may have another one.
        middleware: runs around every call on this side, the first outermost. It also runs around fetching the schema,
            which the first call of a remote address does. A name stands for a plug-in (`portal.calls.plugins`).
        attempt_middleware: runs around each attempt of a call, inside of the choice of an instance.
        executor: runs the calls of `submit_at`, `map_at` and `notify_at`; None makes a pool of 32 threads on first use.
        timeout: seconds for a remote call without a timeout and without an inherited deadline; None for no limit. A
            call within this process has no default timeout.

    Raises: ConfigError for a wrong setting.

    Threads: any; one Consumer serves a whole process. Its threads end with it, closed or not, when their calls are
    done. Fork: a child process opens connections and threads of its own.
    """

    def __init__(
        self,
        resolvers: Iterable[Resolver] | None = None,
        *,
        portals: Iterable[Resolver] = (),
        http: HTTPClient | None = None,
        websocket: WebSocketClient | None = None,
        directory: Directory | str | None = None,
        policy: Policy | None = None,
        auth: ClientAuth = None,
        cache: ResponseCache | None = None,
        middleware: Iterable[Middleware | str] = (),
        attempt_middleware: Iterable[Middleware | str] = (),
        executor: Executor | None = None,
        timeout: float | None = 30.0,
    ) -> None:
        self._directory = checked_directory(directory)
        credential = guarded(None if auth is None else credentials_of(auth), self._directory)
        cache = instance("consumer.cache", cache, ResponseCache, optional=True)
        given = check_resolvers("consumer.resolvers", () if resolvers is None else resolvers)
        given += check_resolvers("consumer.portals", portals)
        if credential is not None or cache is not None:
            require_own_credentials(given)
        self._timeout = positive_seconds("consumer.timeout", timeout, optional=True)
        remote = RemoteResolvers(credential, cache, self._timeout)
        configured = remote.configured(http, websocket)
        self._resolvers = ResolverTable(given, configured=configured, make_built_in=remote.make)
        self._topics = Topics(self._resolvers, self._timeout)
        self._functions = FunctionCache(self._resolvers)
        self._workers = CallWorkers(executor)
        self._groups = GroupTable(self._functions, self._directory)
        self._new_calls = CallFactory(self._functions, self._groups, self._timeout)
        self._explainer = Explainer(self._functions, self._groups, self._timeout)
        self._lock = new_lock()  # guards replacing the stages
        around, inside = resolve_middleware(middleware), resolve_middleware(attempt_middleware)
        self._stages = Stages(self._functions, around, inside, policy)
        self._has_settings = any((given, http, websocket, credential, cache, policy, around, inside))

    # calling

    @typed_as(signatures.call_at)
    def call_at(
        self,
        address: Address | str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        context: CallContext | None = None,
        returns: Any = None,
        idempotency_key: str | None = None,
        policy: Policy | None = None,
    ) -> Any:
        """Call the function at an address and return its result.

        Args:
            params: JSON data by parameter name.
            timeout: seconds for the whole call; a shorter deadline of the running call still holds.
            context: the context that the call is nested in; None for that of the running call.
            returns: a type to load the result into (`Invoice`, `Invoice | None`, `list[Invoice]`); None for JSON data.
            idempotency_key: a server with `Idempotency` runs the call once for this key, however often it is sent.
            policy: how to make this call, instead of the policy of the Consumer.

        Returns: JSON data, equal at every address, or an instance of `returns`.
        Raises: portal errors only. ValidationError for parameters that do not fit the schema, before they are sent if
            the schema is known, and for a result that does not fit `returns`; RegistryError for an unknown function;
            CallTimeout at the deadline; TransportError, whose `may_have_executed` says whether to send it again is
            safe; FunctionError for what the function raised.
        """
        text = address if address.__class__ is str else str(address)
        local, stages = self._functions.local, self._stages
        is_plain = stages.direct and timeout is None and idempotency_key is None and policy is None
        if is_plain and local.version == topology.version:
            function = local.get(text)
            if function is not None:
                result = function.invoke({} if params is None else params, CallContext.for_call(None, context))
                return result if returns is None else load_result(result, returns, function.name)
        chain = stages.default if policy is None else stages.of(policy).at_address
        call = self._new_calls.at(address, text, params, timeout, context, policy or stages.policy, idempotency_key)
        return chain(call) if returns is None else call_and_load(chain, call, returns)

    @typed_as(signatures.stream_at)
    def stream_at(
        self,
        address: Address | str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        context: CallContext | None = None,
        returns: Any = None,
        policy: Policy | None = None,
    ) -> Iterator[Any]:
        """Return the items of a streaming function, each as it arrives: JSON data, or instances of `returns`.

        The parameters are checked before this returns. Closing the iterator ends the call and stops the generator. The
        timeout is for the whole stream.
        """
        chains = self._stages.of(policy)
        call = self._new_calls.at(address, str(address), params, timeout, context, chains.policy)
        call.streaming = True
        items: Iterator[Any] = chains.at_address(call)
        return items if returns is None else load_items(items, returns, call.function.name)

    @typed_as(signatures.call)
    def call(
        self,
        target: Target,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        context: CallContext | None = None,
        returns: Any = None,
        idempotency_key: str | None = None,
        policy: Policy | None = None,
    ) -> Any:
        """Call a function by name, or one of several equal instances; if one fails, another one if that is safe.

        A call whose function may have run is sent again only if the function is idempotent, or with an idempotency key.
        With a key the instances must share the store of their `Idempotency`.

        Args:
            target: a name, which the directory knows, or a list of addresses or Instances of one function.

        The other arguments, the result and the errors are those of `call_at`. ConsumerError, which lists the attempts,
        means that several instances could not take the call.
        """
        chains = self._stages.of(policy)
        call = self._new_calls.of_target(target, chains, params, timeout, context, idempotency_key)
        result = chains.of_group(call)
        return result if returns is None else load_result(result, returns, call.function.name)

    @typed_as(signatures.stream)
    def stream(
        self,
        target: Target,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        context: CallContext | None = None,
        returns: Any = None,
        policy: Policy | None = None,
    ) -> Iterator[Any]:
        """Return the items of a streaming function, called as by `call`; until the first item another instance may do.

        The arguments are those of `call`, the iterator is that of `stream_at`.
        """
        chains = self._stages.of(policy)
        call = self._new_calls.of_target(target, chains, params, timeout, context, streaming=True)
        items: Iterator[Any] = chains.of_group(call)
        return items if returns is None else load_items(items, returns, call.function.name)

    @typed_as(signatures.submit_at)
    def submit_at(self, address: Address | str, params: Mapping[str, Any] | None = None, **options: Any) -> Future[Any]:
        """Make a call in a worker thread, with the options of `call_at`. The future can be cancelled while it runs.

        Raises: OverloadedError when the pool and its queue are full.
        """
        return submit_call(self._workers.submit, self.call_at, address, params, **options)

    @typed_as(signatures.map_at)
    def map_at(
        self,
        address: Address | str,
        params: Iterable[Mapping[str, Any]],
        *,
        max_in_flight: int = 32,
        timeout: float | None = None,
        return_exceptions: bool = False,
        as_completed: bool = False,
        returns: Any = None,
        policy: Policy | None = None,
    ) -> Iterator[Any]:
        """Return the results for each of `params`, in order, with at most `max_in_flight` calls at a time.

        `params` is read as results are taken. The first failure is raised in its place; it cancels calls in flight.
        With a Retry, rejected calls wait their turn. Small calls of idempotent functions may share HTTP requests, or a
        thread over WebSocket.

        Args:
            return_exceptions: whether a failed call has its exception as result, so that the others go on.
            as_completed: whether to return pairs (number, result) as the results come, not in the order of `params`.
        """
        is_plain = policy is None and self._stages.direct  # else stages run around each call
        wait = timeout or self._timeout
        if is_plain and not as_completed:
            resolvers = self._resolvers.resolvers_for(Address.of(address))
            found = map_in_chunks(resolvers, address, params, max_in_flight, wait, return_exceptions, returns)
            if found is not None:
                return found
        batch = Batch.of_calls(
            self._workers.submit,
            partial(self.call_at, address, timeout=timeout, returns=returns, policy=policy),
            max_in_flight,
            waits_turn=has_retry(policy, self._stages),
            calls_together=together(self._functions, address, returns) if is_plain else None,
            timeout=wait,
        )
        return batch.results(params, as_completed=as_completed, return_exceptions=return_exceptions)

    def notify_at(
        self,
        address: Address | str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        context: CallContext | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Make a call in a worker thread without a result; a failure is logged.

        Raises: what is known before the call is sent: AddressError, OverloadedError, RegistryError for an address of
            this process.
        """
        stages = self._stages
        call = self._new_calls.at(address, str(address), params, timeout, context, stages.policy, idempotency_key)
        future = self._workers.submit(stages.default, call)
        future.add_done_callback(partial(log_failure, call.function.name))

    # topics

    @typed_as(signatures.subscribe)
    def subscribe(
        self,
        address: Address | str,
        params: Mapping[str, Any] | None = None,
        *,
        returns: Any = None,
        resume: bool = True,
        slow: SlowReader = "close",
        max_bytes: int = 1024 * 1024,
        since: tuple[str, int] | None = None,
        callback: Callable[[Any], object] | None = None,
        timeout: float | None = None,
    ) -> Subscription[Any]:
        """Subscribe to the topic at an address; iterate the result for Event and Gap.

        Args:
            params: parameters of the subscription, as JSON data.
            returns: a type to load the data of events into; None for JSON data.
            resume: whether to get what was published while there was no connection.
            slow: what happens if events come faster than they are taken; see `portal.websocket.Subscription`.
            max_bytes: bytes of the messages that wait to be taken.
            since: `position` of an earlier subscription, after which this one goes on.
            callback: gets each Event and Gap in a thread; the callbacks of a process share four.
            timeout: seconds to wait for the server to confirm it.

        Raises: portal errors only. RegistryError if there is no topic at the address.
        """
        options: dict[str, Any] = {"resume": resume, "slow": slow, "max_bytes": max_bytes, "since": since}
        return self._topics.subscribe(address, params, returns, callback, timeout, **options)

    def publish(
        self, address: Address | str, data: Any, *, key: str | None = None, timeout: float | None = None
    ) -> tuple[str, int] | None:
        """Publish data to the topic at an address, where its server allows clients to.

        Args:
            key: what the event is about.

        Returns: epoch and offset of the event.
        Raises: portal errors only. AuthorizationError if the server does not allow it.
        """
        return self._topics.publish(address, data, key, timeout)

    def explain(self, target: Target, *, policy: Policy | None = None) -> Explanation:
        """Return what the next call to an address, to equal instances or to a name would do, and why.

        It contacts no server, and takes no turn of a picker and no probe of a breaker. `print` shows it for people.
        """
        return self._explainer.explain(target, self._stages, policy)

    # arranging

    @property
    def policy(self) -> Policy:
        """The policy of calls that have none of their own."""
        return self._stages.of(None).policy

    def use(self, middleware: Middleware | str, *, attempts: bool = False) -> Consumer:
        """Add a middleware, or a plug-in by its name, inside the present ones; running calls keep theirs.

        Args:
            attempts: whether it runs around each attempt of a call, and not around the call.
        """
        added = resolve_middleware([middleware])
        with self._lock:
            self._stages = self._stages.with_middleware(added, attempts=attempts)
        return self

    def register(self, resolver: ResolverT) -> ResolverT:
        """Use a resolver for its schemes, before any other, and return it. The consumer does not close it."""
        self._resolvers.register(resolver)
        self._functions.clear()
        return resolver

    register_portal = register

    def resolvers(self) -> list[Resolver]:
        """Return the resolvers that were given and those made so far."""
        return self._resolvers.all()

    portals = resolvers

    def close(self) -> None:
        """Close connections, threads and middleware; the portals that were given stay open. May be called twice."""
        self._workers.close()
        self._resolvers.close()
        self._functions.clear()
        self._groups.close()
        close_resource(self._directory)
        self._stages.close()

    def _resolving(self) -> ResolvedFunctions:
        # not kept: a cycle of references would put off the end of a consumer that is not closed
        kind = None if self._has_settings else type(self)
        return ResolvedFunctions(self._resolvers, lambda call: self._stages.default(call), self._stages.direct, kind)

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
