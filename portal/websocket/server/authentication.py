"""Authenticate clients: by the handshake, by rpc.authenticate, and by the credential of one message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import monotonic, time
from typing import Any

from ..._internal.json_text import JSONObject
from ...auth.authentication import authenticate, challenges_of
from ...auth.authenticators import Authenticator
from ...auth.missing import missing_credential
from ...context import Identity
from ...errors import AuthenticationError, AuthorizationError, Fault, PortalError, ValidationError
from ...serving import Request, Response

__all__ = ["Authentication", "RequestMiddleware", "expiry_of"]

#: Middleware around requests, such as AuthFailureLimit.
RequestMiddleware = Callable[[Request, Callable[[Request], Response]], Response]
_MAX_HEADERS = 10  # credentials of one message


class Authentication:
    """Finds the identity of clients.

    Args:
        authenticators: of the portal; none lets everybody in.
        middleware: around each authentication, the first outermost, as around an HTTP request. It may reject clients
            and count failures.

    Attributes:
        required: whether each client needs a credential.

    Threads: any.
    """

    def __init__(self, authenticators: Iterable[Authenticator], middleware: Iterable[RequestMiddleware] = ()) -> None:
        self._authenticators = tuple(authenticators)
        self._middleware = tuple(middleware)
        self.required = bool(self._authenticators)

    def challenges(self, error: PortalError) -> tuple[str, ...]:
        """Return the challenges for the response to a handshake that has failed with an error."""
        return challenges_of(error, self._authenticators)

    def of_request(self, request: Request) -> Identity | None:
        """Return the identity of the client of a handshake; None if no credential is required.

        Raises: AuthenticationError, RateLimitError, and what middleware raises.
        """
        if not self.required:
            return None
        found: list[Identity] = []
        failed: list[PortalError] = []

        def last(request: Request) -> Response:
            try:
                found.append(authenticate(self._authenticators, request))
            except PortalError as error:
                failed.append(error)
                if isinstance(error, AuthenticationError) and error.guess:
                    request.notes["guess"] = True
                return Response(error.status)
            return Response(204)

        chain: Callable[[Request], Response] = last
        for layer in reversed(self._middleware):
            chain = _around(layer, chain)
        response = chain(request)
        if failed:
            raise failed.pop()  # this frame does not keep what it raises
        if not found:
            raise AuthorizationError(f"the handshake was rejected with status {response.status}")
        return found[0]

    def of_message(self, handshake: Request, known: Identity | None, meta: JSONObject | None) -> Identity | None:
        """Return the identity for one message: by the credential in its `meta`, or else that of the connection.

        Args:
            handshake: the request of the handshake, in the place of whose credential that of the message is looked at.
            known: the identity of the connection.
            meta: may have "authorization", or "headers" with the texts of several headers by name.

        Raises: AuthenticationError for a wrong credential, and if there is none. ValidationError for a malformed one.
        """
        if not self.required:
            return None
        given = headers_of(meta)
        if given:
            return self.of_request(_with_headers(handshake, given))
        if known is None:
            raise AuthenticationError(missing_credential(self._authenticators, handshake))
        return known

    def renewed(self, handshake: Request, known: Identity | None, params: JSONObject) -> Identity:
        """Return the identity of the new credential of a connection, in the parameters of rpc.authenticate.

        Raises: AuthenticationError for a wrong credential. AuthorizationError if it is of another identity.
        """
        given = headers_of(params)
        if not given:
            raise ValidationError(errors=[Fault("/authorization", "must be a credential", "required")])
        if not self.required:
            raise AuthenticationError("this portal requires no credential")
        found = self.of_request(_with_headers(handshake, given))
        assert found is not None
        if known is not None and found.name != known.name:
            raise AuthorizationError("a renewed credential must be of the same identity; open another connection")
        return found


def headers_of(given: JSONObject | None) -> dict[str, str]:
    """Return the headers with the credentials of a message, by lower-case name. Raises: ValidationError."""
    if not given or ("authorization" not in given and "headers" not in given):
        return {}
    headers: dict[str, Any] = {}
    several = given.get("headers", {})
    if not isinstance(several, dict) or len(several) > _MAX_HEADERS:
        raise _invalid("/headers", f"must be an object of at most {_MAX_HEADERS} texts")
    headers |= {name.lower(): value for name, value in several.items()}
    if "authorization" in given:
        headers["authorization"] = given["authorization"]
    for name, value in headers.items():
        if not isinstance(value, str) or not value.isprintable():
            raise _invalid(f"/{name}", "must be the text of a header")
    return headers


def _invalid(path: str, message: str) -> ValidationError:
    return ValidationError(errors=[Fault(path, message, "type")])


def _with_headers(handshake: Request, given: Mapping[str, str]) -> Request:
    """Return the request of the handshake without its own credentials, and with other ones."""
    request = Request(handshake.head, b"", handshake.connection, handshake.peer)
    request.headers = given
    request.query = ""
    return request


def _around(layer: RequestMiddleware, call_next: Callable[[Request], Response]) -> Callable[[Request], Response]:
    return lambda request: layer(request, call_next)


def expiry_of(identity: Identity | None) -> float | None:
    """Return the `time.monotonic()` moment at which the credential of an identity expires, or None.

    That is the claim "exp" of a token (RFC 7519 section 4.1.4).
    """
    claim = None if identity is None else identity.claims.get("exp")
    if not isinstance(claim, int | float) or isinstance(claim, bool):
        return None
    return monotonic() + claim - time()
