"""EarlyAuthentication: authenticates the caller of a request before its body is read.

Otherwise anybody could have the server keep large bodies. The credential is in the head, unless an authenticator says
`needs_body`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...auth.authentication import Authenticator, authenticate
from ...context import Identity
from ...errors import PortalError
from ...serving import Request, Response
from ..middleware.base import HTTPMiddleware, build_http_chain
from .error_responses import ErrorResponses

__all__ = ["EarlyAuthentication", "early_authentication"]


class EarlyAuthentication:
    """Authenticates callers by the head of their request.

    HTTP middleware that guards authentication runs around it, so that nobody can guess credentials here. The other
    middleware runs around the response that rejects a request, as it does for complete requests.

    Args:
        authenticators: of the portal.
        guards: the middleware that guards authentication.
        others: the other middleware.
        errors: makes the responses.
        secrets: names of headers and query parameters that credentials are read from.
        middleware_failed: returns the response to what a middleware raises.

    Threads: any.
    """

    def __init__(
        self,
        authenticators: tuple[Authenticator, ...],
        guards: tuple[HTTPMiddleware, ...],
        others: tuple[HTTPMiddleware, ...],
        errors: ErrorResponses,
        secrets: frozenset[str],
        middleware_failed: Callable[[Request, Exception], Response],
    ) -> None:
        self._authenticators = authenticators
        self._guards = guards
        self._others = others
        self._errors = errors
        self._secrets = secrets
        self._middleware_failed = middleware_failed

    def authenticate(self, request: Request) -> Identity | Response:
        """Return the identity of the caller, or the response that rejects the request."""
        found: list[Identity] = []

        def ask(request: Request) -> Response:
            try:
                found.append(authenticate(self._authenticators, request))
            except PortalError as error:
                return self._middleware_failed(request, error)
            return Response()

        if self._secrets:
            request.notes["secrets"] = self._secrets
        response = build_http_chain(self._guards, ask, self._middleware_failed)(request)
        if found:
            return found[0]
        return build_http_chain(self._others, lambda _: response, self._middleware_failed)(request)


def early_authentication(
    authenticators: tuple[Authenticator, ...],
    middleware: Iterable[HTTPMiddleware],
    errors: ErrorResponses,
    secrets: frozenset[str],
    middleware_failed: Callable[[Request, Exception], Response],
) -> EarlyAuthentication | None:
    """Return the early authentication of a portal, or None if its callers are authenticated with their body.

    That is so if an authenticator needs the body, and if some middleware does not say by `guards_authentication`
    whether it must run before a credential is looked at. Bodies count as those of unknown callers then.
    """
    layers = tuple(middleware)
    guards = [getattr(layer, "guards_authentication", None) for layer in layers]
    if not authenticators or None in guards or any(getattr(one, "needs_body", False) for one in authenticators):
        return None
    return EarlyAuthentication(
        authenticators,
        tuple(layer for layer, is_guard in zip(layers, guards, strict=True) if is_guard),
        tuple(layer for layer, is_guard in zip(layers, guards, strict=True) if not is_guard),
        errors,
        secrets,
        middleware_failed,
    )
