"""HTTPPortal: publish functions over HTTP, and resolve http and https addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .._internal.settings import flag, instance, text, url_path, whole_number
from ..calls.middleware import Middleware
from ..calls.plugins import close_middleware, resolve_middleware
from ..catalogue import UniqueIds
from ..directory.registration import Registration, registration_of
from ..network.listener_mount import Place
from ..network.portal import NetworkPortal
from ..schema import validation_stats
from ..serving import Listener, ServingConfig
from .client.client import HTTPClient
from .client.resolver import HTTPResolver
from .documents.pages import DOCUMENT_PATHS, DocumentSettings
from .middleware.base import HTTPMiddleware
from .server.app import HTTPApp

if TYPE_CHECKING:
    from ..auth.authentication import ServerAuth
    from .server.wsgi import WSGIApp

__all__ = ["HTTPPortal"]

_YEAR = 365 * 24 * 3600  # seconds


class HTTPPortal(NetworkPortal):
    """Publish functions over HTTP/1.1 and resolve http and https addresses.

    The portal serves from `start()` or `with` on, or when another server hosts it. `apply` does not start it: with port
    0 it takes a free port, which refuses connections until then. The portal is itself a WSGI application (PEP 3333),
    the same as `wsgi`.

    Args:
        host, port: where to listen; port 0 takes a free port. "unix:/path" listens on a Unix socket, whose addresses
            are http://localhost/...; clients need `HTTPClient(sockets={"localhost": path})`.
        base_path: prefix of every address.
        auth: an authenticator, a list of them, or a callable request -> Identity | None; see
            `portal.auth.authentication`. With None anyone may call.
        middleware: runs around every call that is served, the first outermost. A middleware with a `close` method is
            closed with the portal. A name stands for a plug-in (`portal.calls.plugins`).
        http_middleware: runs around every HTTP request, outside of authentication; otherwise as `middleware`.
        trusted_proxies: networks of the proxies whose X-Forwarded-For is trusted.
        allowed_hosts: the accepted hosts of the Host header, such as "shop.example", "*.shop.example", or "*" for all.
            Other requests get 421. With None a portal that listens on a loopback address accepts localhost, 127.0.0.1,
            ::1 and `host`, and any other portal accepts every host.
        documents: serve /openapi.json, /openrpc.json and /docs, at the root and below the base path, and the JSON-RPC
            method rpc.discover.
        health_path: serve health checks at this path, for everybody: {path}/live, and {path} and {path}/ready, at the
            root and below the base path. None serves none.
        name: the portal's own name. It is the namespace of what middleware keeps in a shared store, such as limits and
            idempotency keys. Portals with one name are replicas.
        title, version: title and version of the interface in these documents. The title is by default the name, or
            "Portal".
        max_age: whole seconds, up to a year, for which clients may cache responses of functions declared cacheable.
            With 0 clients revalidate a response at each use.
        executor: runs the functions; None runs them in the workers of the listener.
        directory: where clients find this portal by the names of its functions: a URL such as "redis://host:6379/0", or
            a `portal.directory.Registration`. It is registered while it serves.
        listener: an existing Listener to share, which has its own host, port and config.
        config: limits and timeouts of the listener.
        debug: send the exceptions of functions to clients, with tracebacks.
        http: the client for calls of other servers.
        unique_ids: "fingerprint" or "random" last segments of addresses.
        listen: False opens no socket. Another server then hosts the portal as a WSGI application, or passes its sockets
            on, as gunicorn does to `portal.serving.gunicorn.Worker`.

    Attributes:
        health_path: as given.

    Raises: ConfigError for a wrong setting. `start` raises TransportError when the port is in use.

    Threads: any. Fork: a child process does not serve for its parent; it may publish on a portal of its own.
    """

    schemes = ("http", "https")

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        name: str | None = None,
        base_path: str = "/api",
        auth: ServerAuth = None,
        http_middleware: Iterable[HTTPMiddleware | str] = (),
        trusted_proxies: Iterable[str] = (),
        allowed_hosts: Iterable[str] | None = None,
        documents: bool = True,
        health_path: str | None = "/health",
        title: str | None = None,
        version: str = "1",
        max_age: int = 0,
        middleware: Iterable[Middleware | str] = (),
        executor: Executor | None = None,
        directory: str | Registration | None = None,
        listener: Listener | None = None,
        config: ServingConfig | None = None,
        debug: bool = False,
        http: HTTPClient | None = None,
        unique_ids: UniqueIds = "fingerprint",
        listen: bool = True,
    ) -> None:
        super().__init__(
            "http",
            host,
            port,
            base_path=base_path,
            resolver=HTTPResolver(http),
            name=name,
            trusted_proxies=trusted_proxies,
            allowed_hosts=allowed_hosts,
            middleware=middleware,
            executor=executor,
            listener=listener,
            serving=instance("http.config", config, ServingConfig, optional=True),
            unique_ids=unique_ids,
            registration=registration_of(directory),
            listen=listen,
        )
        _require_settings(max_age=max_age, title=title, version=version, documents=documents, debug=debug)
        self.health_path = url_path("http.health_path", health_path, optional=True) or None
        self._http_middleware = resolve_middleware(http_middleware, "request", name=self.name)
        self._app = HTTPApp(
            self._catalogue,
            self._services,
            self._dispatcher,
            base_path=base_path,
            address_of=self._address_of,
            hosts=self._hosts,
            proxies=self._proxies,
            auth=auth,
            http_middleware=self._http_middleware,
            debug=debug,
            max_age=max_age,
            documents=DocumentSettings(documents, title or self.name or "Portal", version, self.listener.serves),
            config=self.listener.config,
            health_path=self.health_path,
            problem=self._problem,
        )
        self._beside = (*(DOCUMENT_PATHS if documents else ()), *([self.health_path] if self.health_path else []))
        self._serve_at(self._places())

    def _places(self) -> list[Place]:
        places = [Place(self._base_path or "/", self._app)]
        if self._base_path:
            places += [Place(path, self._app, shared=True) for path in self._beside]
        return places

    @cached_property
    def wsgi(self) -> WSGIApp:
        """The published functions as a WSGI application; see `portal.http.server.wsgi` for where to mount it."""
        from .server.wsgi import WSGIApp

        return WSGIApp(
            self._app,
            base_path=self._base_path,
            max_body=self.listener.config.max_body,
            beside=self._beside,
            prepare=self._start_hosted_services,
        )

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Respond to one WSGI request."""
        return self.wsgi(environ, start_response)

    def stop(self, grace: float = 5.0) -> None:
        """Stop serving: finish running calls within `grace` seconds, then stop the services and the client."""
        try:
            super().stop(grace)
        finally:
            if self._closed:
                close_middleware(self._http_middleware)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of the published functions, also if /openapi.json is not served."""
        return self._app.openapi()

    def stats(self) -> dict[str, Any]:
        """Return the numbers of functions, of calls started, failed and running, and the counters of the listener.

        `bodies_rejected` counts bodies with too many objects and arrays, `decompression_rejected` compressed bodies
        beyond a limit, `batches_cut` JSON-RPC batches whose results were too long, `hosts_rejected` requests whose Host
        header was not accepted. "auth" has the counters of authenticators, and "validation" those of
        `ValidationLimits` in this process.
        """
        own = {
            "bodies_rejected": self._app.decoder.rejected.value,
            "decompression_rejected": self._app.decompression.rejected.value,
            "batches_cut": self._app.batches_cut.value,
            "hosts_rejected": self._hosts.rejected.value,
            "auth": self._app.authentication_counters(),
            "validation": validation_stats(),
        }
        return super().stats() | self._dispatcher.stats() | own | {"listener": self.listener.stats()}


def _require_settings(*, max_age: object, title: object, version: object, documents: object, debug: object) -> None:
    whole_number("http.max_age", max_age, minimum=0, maximum=_YEAR, unit="a whole number of seconds")
    text("http.title", title, optional=True)
    text("http.version", version)
    flag("http.documents", documents)
    flag("http.debug", debug)
