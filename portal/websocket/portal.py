"""WebSocketPortal: publish functions and topics over WebSockets, and resolve ws and wss addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .._internal.closing import close_and_log
from .._internal.json_text import BodyDecoder, JSONObject, JSONValue
from .._internal.redis_client import RedisClient, require_namespace
from .._internal.settings import callback, flag, instance, text, url_path
from ..address import Address
from ..auth.authentication import ServerAuth, authenticators_of
from ..calls.middleware import Middleware
from ..calls.plugins import close_middleware, counters_of, resolve_middleware
from ..catalogue import UniqueIds
from ..directory.registration import Registration, registration_of
from ..errors import RegistryError
from ..function import Function
from ..network.charges import RequestCharges
from ..network.listener_mount import Place
from ..network.listing import Listing
from ..network.portal import NetworkPortal
from ..service import Service, is_service
from ..serving import Listener, ServingConfig
from .browser.files import PATHS, BrowserFiles
from .client.client import WebSocketClient
from .client.resolver import WebSocketResolver
from .close_codes import CloseCode
from .discovery import Discovery
from .server.app import WebSocketApp
from .server.authentication import Authentication, RequestMiddleware
from .server.calls import Calls
from .server.connections import Connections, Hook
from .server.methods import Methods
from .server.origins import OriginCheck, Origins
from .server.sessions import SessionStore
from .server.settings import WebSocketConfig
from .topics.event import Retain
from .topics.redis_store import RedisTopicStore
from .topics.subscription import Slow
from .topics.topic import Topic

if TYPE_CHECKING:
    from .wsgi.app import WebSocketWSGI

__all__ = ["WebSocketPortal"]


class WebSocketPortal(NetworkPortal):
    """Publish functions and topics over WebSockets as JSON-RPC 2.0, and resolve ws and wss addresses.

    The portal serves from `start()` or `with` on. It may share the listener of an HTTPPortal, so that one port serves
    both: `WebSocketPortal(listener=http.listener)`.

    Args:
        host, port: where to listen; port 0 takes a free port.
        path: prefix of every address. Handshakes are accepted at it and below it.
        name: the portal's own name, the namespace of what middleware and topics keep in a shared store. Portals with
            one name are replicas.
        auth: an authenticator, a list of them, or a callable request -> Identity | None; see
            `portal.auth.authentication`. It gets the request of the handshake, and the credentials of messages. With
            None anyone may call.
        middleware: runs around every call that is served, the first outermost, as in HTTPPortal.
        http_middleware: runs around every authentication: that of a handshake, of a message, and of rpc.authenticate.
            AuthFailureLimit counts there.
        origins: the origins of the web pages that may connect, "*" for all, or a callable; None for pages of the same
            host and port.
        trusted_proxies, allowed_hosts: as in HTTPPortal.
        late_credentials: whether a client may connect without a credential and send it by rpc.authenticate.
        executor: runs the functions; None runs them in the workers of the listener.
        directory: where clients find this portal by the names of its functions: a URL such as "redis://host:6379/0", or
            a `portal.directory.Registration`. It is registered while it serves.
        listener: an existing Listener to share, which has its own host, port and config.
        config: limits and timeouts of the connections.
        serving: limits and timeouts of a listener of its own.
        documents: serve the method rpc.discover, /portal.js, the client for pages in browsers, and /docs/websocket.
        title, version: of the document that it returns. The title is by default the name, or "Portal".
        on_connect, on_disconnect: called in a worker with the description of a connection, as `list_clients` returns
            it.
        debug: send the exceptions of functions to clients, with tracebacks.
        client: the client for calls of other servers.
        listen: False opens no socket. Another server then hosts the portal as the WSGI application `wsgi`, or passes
            its sockets on, as gunicorn does to `portal.serving.gunicorn.Worker`.
        unique_ids: "fingerprint" or "random" last segments of addresses.

    Raises: ConfigError for a wrong setting. `start` raises TransportError when the port is in use.

    Threads: any. Fork: a child process does not serve for its parent; it may publish on a portal of its own.
    """

    schemes = ("ws", "wss")

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        path: str = "/ws",
        name: str | None = None,
        auth: ServerAuth = None,
        middleware: Iterable[Middleware | str] = (),
        http_middleware: Iterable[RequestMiddleware | str] = (),
        origins: Origins = None,
        trusted_proxies: Iterable[str] = (),
        allowed_hosts: Iterable[str] | None = None,
        late_credentials: bool = False,
        executor: Executor | None = None,
        directory: str | Registration | None = None,
        listener: Listener | None = None,
        config: WebSocketConfig | None = None,
        serving: ServingConfig | None = None,
        documents: bool = True,
        title: str | None = None,
        version: str = "1",
        on_connect: Hook | None = None,
        on_disconnect: Hook | None = None,
        debug: bool = False,
        client: WebSocketClient | None = None,
        listen: bool = True,
        unique_ids: UniqueIds = "fingerprint",
    ) -> None:
        super().__init__(
            "websocket",
            host,
            port,
            base_path=url_path("websocket.path", path),
            resolver=WebSocketResolver(client),
            name=name,
            trusted_proxies=trusted_proxies,
            allowed_hosts=allowed_hosts,
            middleware=middleware,
            executor=executor,
            listener=listener,
            serving=instance("websocket.serving", serving, ServingConfig, optional=True),
            unique_ids=unique_ids,
            registration=registration_of(directory),
            listen=listen,
        )
        config = instance("websocket.config", config, WebSocketConfig, optional=True) or WebSocketConfig()
        text("websocket.title", title, optional=True)
        text("websocket.version", version)
        flags = {"documents": documents, "debug": debug, "late_credentials": late_credentials}
        for setting, value in flags.items():
            flag(f"websocket.{setting}", value)
        callback("websocket.on_connect", on_connect, optional=True)
        callback("websocket.on_disconnect", on_disconnect, optional=True)
        # who may call
        self._authenticators = authenticators_of(auth)
        self._http_middleware = resolve_middleware(http_middleware, "request", name=self.name)
        authentication = Authentication(self._authenticators, self._http_middleware)
        # topics, connections, and the sessions of lost connections
        self._topics: dict[str, Topic] = {}
        self._stores: dict[Any, RedisTopicStore] = {}
        limits = (config.session_keep, config.max_session, config.max_lost_sessions)
        self._sessions = SessionStore(*limits, max_all_bytes=config.max_all_sessions)
        sessions = self._sessions if config.session_keep else None
        self._connections = Connections(config, on_connect=on_connect, on_disconnect=on_disconnect, sessions=sessions)
        # what responds
        discovery = Discovery(
            self._catalogue,
            self._topics,
            title=title or self.name or "Portal",
            version=version,
            url=lambda: str(self.base),
        )
        methods = Methods(
            Listing(self._catalogue, self._services, self._address_of),
            self._topics,
            self._dispatcher,
            authentication,
            sessions=sessions,
            discover=discovery.document if documents else None,
        )
        charges = RequestCharges(self._dispatcher)
        calls = Calls(self._catalogue, self._dispatcher, authentication, charges, methods.table, base=self._base_path)
        self._app = WebSocketApp(
            self._base_path or "/",
            calls,
            self._connections,
            authentication,
            config,
            hosts=self._hosts,
            origins=OriginCheck(origins),
            proxies=self._proxies,
            late_credentials=late_credentials,
            decoder=BodyDecoder(self.listener.config.max_containers),
            debug=debug,
        )
        places = [Place(self._base_path or "/", self._app)]
        if documents:
            places += [Place(path, BrowserFiles(), shared=True) for path in PATHS]
        self._serve_at(places)

    @cached_property
    def wsgi(self) -> WebSocketWSGI:
        """The portal as a WSGI application, whose server gives a thread to each connection; see its module."""
        from .wsgi.app import WebSocketWSGI

        return WebSocketWSGI(
            self._app,
            base_path=self._base_path,
            config=self.listener.config,
            prepare=self._start_hosted_services,
        )

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Respond to one WSGI request; see `wsgi`."""
        return self.wsgi(environ, start_response)

    # publishing

    def apply(self, function: Function | Callable[..., Any]) -> Address:
        """Publish a Function, or a plain callable by its hints; see `Portal.apply`.

        Raises: RegistryError (conflict) also for the name of a topic.
        """
        if isinstance(function, Service) or is_service(function):
            return super().apply(function)  # which rejects it
        made = Function.of(function)
        with self._lifecycle:
            self._require_no_topic(made.name)
            return super().apply(made)

    def apply_service(self, service: Any) -> Address:
        """Publish every function of a Service; see `Portal.apply_service`.

        Raises: RegistryError (conflict) also for the name of a topic.
        """
        group = Service.of(service)
        with self._lifecycle:
            self._require_no_topic(group.name)
            return super().apply_service(group)

    def _require_no_topic(self, name: str) -> None:
        if name in self._topics:
            raise RegistryError(f"a topic {name} is published; remove it first", name=name, kind="conflict")

    def topic(
        self,
        name: str,
        *,
        item: Any = Any,
        params: Any = None,
        retain: Retain | None = None,
        slow: Slow = "close",
        key: str | Callable[[Any], str | None] | None = None,
        scopes: Iterable[str] = (),
        publish_scopes: Iterable[str] | None = None,
        snapshot: Callable[[], Any] | None = None,
        store: str | RedisClient | None = None,
        max_wait: float = 10.0,
        description: str = "",
    ) -> Topic:
        """Publish a topic and return it.

        Args:
            store: URL or client of Redis or Valkey, which then keeps the events, so that any process or host resumes
                any client; the portal needs a `name`. None keeps them in this process.

        The other arguments are those of `Topic`.

        Raises: RegistryError (conflict) when a topic, function or service has this name. ConfigError for a wrong
            setting. TransportError when no port can be bound.
        """
        self._require_open()
        with self._lifecycle:
            self._require_no_topic(name)
            if name in self._services or any(entry.path[0] == name for entry in self._catalogue.entries()):
                message = f"a function or service {name} is published; remove it first"
                raise RegistryError(message, name=name, kind="conflict")
            made = Topic(
                name,
                item=item,
                params=params,
                retain=retain,
                slow=slow,
                key=key,
                scopes=scopes,
                publish_scopes=publish_scopes,
                snapshot=snapshot,
                store=None if store is None else self._store_at(store),
                max_wait=max_wait,
                address=lambda: self._address_of((name,)),
                description=description,
            )
            self._bind()
            self._topics[name] = made
        return made

    def _store_at(self, source: str | RedisClient) -> RedisTopicStore:
        key = source if isinstance(source, str) else id(source)
        found = self._stores.get(key)
        if found is None:
            namespace = require_namespace(self.name, path="topic.store")
            found = self._stores[key] = RedisTopicStore(source, namespace=namespace)
        return found

    def topics(self) -> dict[Address, Topic]:
        """Return the published topics by address."""
        with self._lifecycle:
            return {topic.address: topic for topic in self._topics.values()}

    def remove(self, address: Address | str) -> None:
        """Withdraw a function, a service or a topic. Subscribers of the topic are told.

        Raises: RegistryError (not_found) when nothing is published at the address.
        """
        path = self._path_of(Address.of(address))
        with self._lifecycle:
            topic = self._topics.pop("/".join(path), None)
        if topic is None:
            super().remove(address)
        else:
            topic.close(RegistryError(f"the topic {topic.name} was removed", name=topic.name))

    # connections

    def list_clients(self) -> list[dict[str, Any]]:
        """Return the state and the counters of each open connection as JSON data.

        "id" names it for `disconnect` and `call_client`, and "client" is the identity or network of its client.
        """
        return self._connections.list_clients()

    def disconnect(
        self,
        which: str | Callable[[dict[str, Any]], bool],
        *,
        code: int = CloseCode.NORMAL,
        reason: str = "",
    ) -> int:
        """Close connections, and return how many.

        Args:
            which: the id of a connection, the name of a client such as "identity:ann", or a test of what
                `list_clients` returns.
            code, reason: of the close frame.
        """
        return self._connections.disconnect(which, code=code, reason=reason)

    def call_client(
        self,
        connection: str,
        method: str,
        params: JSONObject | list[JSONValue] | None = None,
        *,
        timeout: float | None = 30.0,
    ) -> Future[JSONValue]:
        """Call a function that a client publishes, and return the future of its result as JSON data.

        Args:
            connection: the id of its connection; see `list_clients`.
            timeout: seconds after which the future has CallTimeout.

        Raises: RegistryError (not_found) if the connection is closed; OverloadedError with too many pending calls.
        """
        found = self._connections.get(connection)
        if found is None:
            raise RegistryError(f"there is no connection {connection[:100]}", name=connection[:100])
        return found.call(method, params, timeout=timeout)

    # lifecycle

    def stop(self, grace: float = 5.0) -> None:
        """Stop serving: ask the clients to connect elsewhere, and finish their calls within `grace` seconds."""
        for connection in self._connections.all():
            connection.stopping()
        try:
            super().stop(grace)
        finally:
            if self._closed:
                self._sessions.close()
                for topic in self._topics.copy().values():
                    topic.close()
                for store in self._stores.copy().values():
                    close_and_log(store, "the store of topics")
                close_middleware(self._http_middleware)
                if "wsgi" in vars(self):
                    self.wsgi.close()

    def _drain(self, grace: float) -> None:
        if not self._connections.wait_until_empty(grace):
            self._connections.disconnect(lambda _: True, code=CloseCode.GOING_AWAY, reason="the server stops")

    def stats(self) -> dict[str, Any]:
        """Return the numbers of functions, calls, connections and topics, and the counters of the listener."""
        with self._lifecycle:
            topics = {name: topic.stats() for name, topic in self._topics.items()}
        own = {
            "connections": self._connections.stats(),
            "sessions": self._sessions.stats(),
            "topics": topics,
            "subscriptions": self._connections.subscriptions.stats(),
            "hosts_rejected": self._hosts.rejected.value,
            "auth": counters_of((*self._authenticators, *self._http_middleware)),
        }
        return super().stats() | self._dispatcher.stats() | own | {"listener": self.listener.stats()}
