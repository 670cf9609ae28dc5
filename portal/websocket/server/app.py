"""WebSocketApp: the handshakes of a WebSocket portal. An accepted one becomes a ServerConnection."""

from __future__ import annotations

from collections.abc import Iterable

from ..._internal.job_queue import Keys
from ..._internal.json_text import BodyDecoder
from ..._internal.log import get_logger
from ...calls.client import client_name
from ...context import Identity, new_request_id
from ...errors import AuthenticationError, AuthorizationError, PortalError, ProtocolError
from ...function.failure import limit_exposure
from ...http11.forwarded import Proxy, client_address, is_trusted_proxy
from ...http11.request_head import RequestHead
from ...network.host_check import HostCheck
from ...network.problem_response import problem_response
from ...serving import Channel, Request, Response
from ..handshake import Rejected, respond
from .authentication import Authentication
from .connection import CallSource, ServerConnection
from .connections import Connections
from .origins import OriginCheck
from .settings import WebSocketConfig

__all__ = ["SUBPROTOCOL", "WebSocketApp"]

_log = get_logger("portal.websocket")
SUBPROTOCOL = "jsonrpc-2.0"


class WebSocketApp:
    """Responds to the handshakes at one path, and makes the connections.

    Args:
        path: of the portal; handshakes below it are accepted as well, as the addresses of functions are.
        calls: finds the work of calls.
        connections: keeps the connections.
        authentication: of the clients.
        config: limits and timeouts.
        hosts: decides which values of the Host header are accepted.
        origins: decides which pages may connect.
        proxies: networks of trusted proxies.
        late_credentials: whether a client may connect without a credential and send it by rpc.authenticate, as a
            browser page without a cookie must.
        decoder: decodes the texts of clients.
        debug: whether clients see what functions raise.

    Threads: any.
    """

    def __init__(
        self,
        path: str,
        calls: CallSource,
        connections: Connections,
        authentication: Authentication,
        config: WebSocketConfig,
        *,
        hosts: HostCheck,
        origins: OriginCheck,
        proxies: tuple[Proxy, ...] = (),
        late_credentials: bool = False,
        decoder: BodyDecoder | None = None,
        debug: bool = False,
    ) -> None:
        self._path = path
        self._calls = calls
        self._connections = connections
        self._authentication = authentication
        self._config = config
        self._hosts = hosts
        self._origins = origins
        self._proxies = proxies
        self._late_credentials = late_credentials
        self._decoder = decoder
        self._debug = debug

    def trusts(self, peer: str) -> bool:
        """Return whether an address is that of a trusted proxy; see `portal.serving.messages.app.ProxyAware`."""
        return is_trusted_proxy(peer, self._proxies)

    def keys(self, head: RequestHead, peer: str, identity: Identity | None) -> Keys:
        """Return the client that a handshake counts for while it waits and runs; see `portal.serving.KeyedApp`.

        An authenticator may take long. It must not take all workers for one client.
        """
        address = client_address(peer, head.headers.get("x-forwarded-for"), self._proxies)
        return () if self.trusts(address) else (("client", client_name(None, address)),)

    def handle(self, request: Request) -> Response:
        """Return the response to a handshake; see `portal.serving.App`."""
        try:
            return self._accept(request)
        except PortalError as error:
            return self._reject(error)
        except Exception as error:
            _log.exception("a handshake failed")
            return self._reject(PortalError("internal error", cause=error))

    def _accept(self, request: Request) -> Response:
        if request.headers.get("host") not in self._hosts.known and not self._hosts.accepts(request):
            raise self._hosts.error(request)
        secure = request.secure
        if self._proxies and is_trusted_proxy(request.peer, self._proxies):
            secure = secure or request.headers.get("x-forwarded-proto", "").lower() == "https"
            request.resolve_peer(client_address(request.peer, request.headers.get("x-forwarded-for"), self._proxies))
        found = respond(request.head, subprotocols=(SUBPROTOCOL,), deflate=self._config.deflate)
        if isinstance(found, Rejected):
            return self._reject(ProtocolError(found.detail, status=found.status), found.headers)
        origin = request.headers.get("origin")
        if not self._origins.accepts(origin, request.headers.get("host"), secure):
            shown = (origin or "")[:80]
            hint = "the server must name the origin in WebSocketPortal(origins=...)"
            raise AuthorizationError(f"pages of the origin {shown!r} may not connect", hint=hint)
        identity, awaits = self._identify(request)
        self._connections.check(client_name(identity, request.peer))

        def take(channel: Channel) -> ServerConnection:
            made = ServerConnection(
                channel,
                request,
                found,
                identity,
                self._calls,
                self._connections,
                self._config,
                awaits_credential=awaits,
                decoder=self._decoder,
                debug=self._debug,
            )
            made.opened()
            return made

        return Response(101, [*found.headers, ("Portal-Path", self._path)], upgrade=take)

    def _identify(self, request: Request) -> tuple[Identity | None, bool]:
        """Return the identity, and whether the client must send its credential in a message."""
        try:
            return self._authentication.of_request(request), False
        except AuthenticationError as error:
            # A wrong credential is rejected; only a missing one may come later.
            if self._late_credentials and error.guess is None:
                return None, True
            raise

    def _reject(self, error: PortalError, headers: Iterable[tuple[str, str]] = ()) -> Response:
        self._connections.rejected.add()
        limit_exposure(error)
        request_id = new_request_id()
        rows = list(headers)
        if error.status == 401:
            rows += [("WWW-Authenticate", challenge) for challenge in self._authentication.challenges(error)]
        return problem_response(error, request_id, rows, debug=self._debug)
