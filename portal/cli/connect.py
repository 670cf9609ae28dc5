"""Options of the commands that call a server, and the Consumer that they use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from .secrets import secret

if TYPE_CHECKING:
    from ..consumer import Consumer

__all__ = ["client_options", "completed", "connected"]

_TOKEN = "PORTAL_TOKEN"  # the name of the environment variable
_BASES = {"http": "/api", "https": "/api", "ws": "/ws", "wss": "/ws"}
_MARGIN = 0.1  # seconds; a server responds at its deadline, which is a little before that of the command


def client_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the token, the trusted certificate authorities and the socket."""
    token = click.option(
        "--token",
        metavar="TOKEN",
        help="Bearer token to send. $NAME reads an environment variable; the default is that of PORTAL_TOKEN.",
    )
    authorities = click.option(
        "--tls-ca",
        metavar="PEM",
        help="Certificate authorities to trust for https:// and wss://, in place of the default ones.",
    )
    socket = click.option(
        "--socket", metavar="PATH", help="Unix socket of the server. The address is then http://localhost/..."
    )
    return token(authorities(socket(command)))


def completed(url: str) -> str:
    """Complete the URL of a server to the base address of its portal, if it has no path."""
    scheme, colon, rest = url.partition("://")
    base = _BASES.get(scheme.lower())
    return f"{url.rstrip('/')}{base}" if colon and base and "/" not in rest.rstrip("/") else url


@contextmanager
def connected(
    address: str, timeout: float | None = None, *, token: str | None, tls_ca: str | None, socket: str | None
) -> Iterator[Consumer]:
    """Open a Consumer for one command.

    Args:
        address: the address of the server or function.
        timeout: seconds for all calls of the command together; None uses the default of each call.
        token, tls_ca, socket: the options that `client_options` adds.
    """
    from ..consumer import Consumer
    from ..context import CallContext
    from ..errors import AuthenticationError, CallTimeout, RegistryError, TransportError
    from ..http import ClientTLS, HTTPClient
    from ..websocket import WebSocketClient

    auth = os.environ.get(_TOKEN) or None if token is None else secret(token, "--token")
    context = None if timeout is None else CallContext.for_call(timeout)
    limit = nullcontext() if context is None else context.active()
    tls = None if tls_ca is None else ClientTLS(ca=tls_ca)
    sockets = None if socket is None else {_authority(address): socket}
    http = None if tls is None and sockets is None else HTTPClient(tls=tls, sockets=sockets)
    websocket = None if tls is None else WebSocketClient(tls=tls)
    with Consumer(http=http, websocket=websocket, auth=auth) as consumer, limit:
        try:
            yield consumer
        except AuthenticationError as error:
            if auth is None:
                error.hint = f"pass a token with --token, or in {_TOKEN}"
            raise
        except CallTimeout as error:
            left = None if context is None else context.remaining()
            if timeout is None or left is None or left > _MARGIN:
                raise  # a timeout of the function or of the client
            message = f"{address} was not called within {timeout:g} s"
            if error.may_have_executed:
                message = f"the call of {address} did not end within {timeout:g} s; it may still be running"
            raise CallTimeout(message, timeout=timeout, delivery=error.delivery, context=error.context) from error
        except RegistryError as error:
            scheme = address.partition("://")[0]
            if all(scheme not in resolver.schemes for resolver in consumer.resolvers()):
                error.hint = "the command calls http://, https://, ws:// and wss:// addresses, and schemes of packages"
            raise
        except TransportError as error:
            if "CERTIFICATE_VERIFY_FAILED" in error.message:  # OpenSSL's name of the failure
                error.hint = "name its certificate authority with --tls-ca"
            raise


def _authority(address: str) -> str:
    """Return the host and optional port of an address, for which the socket is used.

    Raises: click.UsageError for an address that is not http://.
    """
    from ..address import Address

    target = Address.parse(address)
    if target.scheme != "http":
        raise click.UsageError(f"--socket needs an http:// address such as http://localhost/api, got {target}")
    return target.authority
