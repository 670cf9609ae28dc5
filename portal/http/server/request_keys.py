"""RequestKeys: the function and the client that a request counts for while it waits and runs."""

from __future__ import annotations

from ..._internal.job_queue import Keys
from ...catalogue import Catalogue
from ...context import Identity
from ...errors import PortalError
from ...http11.client_network import client_network
from ...http11.forwarded import Proxy, client_address, is_trusted_proxy
from ...http11.request_head import RequestHead
from .target import read_target

__all__ = ["RequestKeys"]

_MAX_ACCEPTED = 4096  # credentials
#: Headers that may have a credential, beside those that the authenticators name.
_CREDENTIALS = frozenset({"authorization", "cookie", "x-api-key"})


class RequestKeys:
    """Finds the keys of requests before they are authenticated.

    A request whose credential was accepted before belongs to the identity that was found then. All other requests of
    one network belong to one client, as a client can send any number of credentials. Once the identity is known, the
    request counts for it as well.

    Args:
        base_path: "" or "/api".
        catalogue: what is published.
        proxies: networks of trusted proxies. A proxy itself is not a client.
        credentials: names, in lower case, of the headers and query parameters that credentials are read from; None
            without authentication.

    Threads: any.
    """

    def __init__(
        self, base_path: str, catalogue: Catalogue, proxies: tuple[Proxy, ...], credentials: frozenset[str] | None
    ) -> None:
        self._base = base_path
        self._catalogue = catalogue
        self._proxies = proxies
        self._accepted: dict[str, str] = {}  # the name of the identity of each credential
        self._credentials = None if credentials is None else tuple(sorted(credentials | _CREDENTIALS))

    def of(self, head: RequestHead, peer: str, identity: Identity | None) -> Keys:
        """Return the keys of a request.

        Args:
            peer: the other end of the connection.
            identity: of the client by its certificate, or None.
        """
        keys = []
        function = self._function(head) if head.method == "POST" else None
        if function is not None:
            keys.append(("function", function))
        client = self._client(head, peer, identity)
        if client is not None:
            keys.append(("client", client))
        return tuple(keys)

    def accept(self, head: RequestHead, certificate: Identity | None, name: str) -> None:
        """Note the identity of the credential of a request, so that the next requests count for it while they wait.

        Args:
            certificate: the identity of the client by its certificate, or None.
            name: of the identity that authentication has found.
        """
        credential = None if self._credentials is None else self._credential(head, certificate)
        if credential is None or self._accepted.get(credential) == name:
            return
        if len(self._accepted) >= _MAX_ACCEPTED:
            self._accepted.clear()
        self._accepted[credential] = name

    def _function(self, head: RequestHead) -> str | None:
        path = head.path
        if not path.startswith(self._base):
            return None
        try:
            entry = self._catalogue.find(*read_target(path[len(self._base) :], head.query))
        except PortalError:  # the response says what is wrong
            return None
        return None if entry is None else self.name_of(entry.path)

    def name_of(self, path: tuple[str, ...]) -> str:
        """Return the value of the key of a function, which the portals of a listener do not share."""
        return f"{self._base}/{'/'.join(path)}"

    def _client(self, head: RequestHead, peer: str, identity: Identity | None) -> str | None:
        credential = None if self._credentials is None else self._credential(head, identity)
        name = None if credential is None else self._accepted.get(credential)
        if name is not None:
            return f"identity:{name}"
        address = peer
        if self._proxies:
            address = client_address(peer, head.headers.get("x-forwarded-for"), self._proxies)
            if is_trusted_proxy(address, self._proxies):
                return credential
        return f"network:{client_network(address)}"

    def _credential(self, head: RequestHead, identity: Identity | None) -> str | None:
        """Return a text for the credential of a request that does not contain it, or None."""
        assert self._credentials is not None
        headers = head.headers
        found = [(name, headers[name]) for name in self._credentials if name in headers]
        if identity is not None:
            found.append(("certificate", identity.name))
        if head.query and any(name in head.query for name in self._credentials):
            found.append(("query", head.query))
        return f"credential:{hash(tuple(found)):x}" if found else None
