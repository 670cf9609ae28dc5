"""Options of the commands that ask a server, and the Consumer that they use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from .secrets import secret

if TYPE_CHECKING:
    from ..consumer import Consumer

__all__ = ["client_options", "connected"]


def client_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say who calls, whom to trust and which socket to use."""
    token = click.option("--token", metavar="TOKEN", help="Bearer token to send. $NAME reads an environment variable.")
    authorities = click.option(
        "--tls-ca", metavar="PEM", help="Certificate authorities to trust for https, in place of the default ones."
    )
    socket = click.option(
        "--socket", metavar="PATH", help="Unix socket of the server. The address is then http://localhost/..."
    )
    return token(authorities(socket(command)))


#: Hints for users of the command, in place of those for developers.
_HINTS = {
    "none was sent: auth= of the Consumer takes one": "none was sent: pass it with --token",
    "is its certificate from an authority that is trusted here?": "its certificate is of no authority that is trusted "
    "here; --tls-ca says whom to trust",
}


@contextmanager
def connected(
    address: str, timeout: float | None = None, *, token: str | None, tls_ca: str | None, socket: str | None
) -> Iterator[Consumer]:
    """Open a Consumer for one command.

    Args:
        address: the server's or the function's address.
        timeout: seconds for all calls of the command together; None for the default of each call.
        token, tls_ca, socket: the options that `client_options` adds.
    """
    from ..consumer import Consumer
    from ..context import CallContext
    from ..errors import PortalError
    from ..http import ClientTLS, HTTPClient

    auth = None if token is None else secret(token, "--token")
    limit = nullcontext() if timeout is None else CallContext.for_call(timeout).active()
    tls = None if tls_ca is None else ClientTLS(ca=tls_ca)
    sockets = None if socket is None else {_authority(address): socket}
    http = None if tls is None and sockets is None else HTTPClient(tls=tls, sockets=sockets)
    with Consumer(http=http, auth=auth) as consumer, limit:
        try:
            yield consumer
        except PortalError as error:
            error.hint = _HINTS.get(error.hint, error.hint)
            raise


def _authority(address: str) -> str:
    """Return the host, and the port if there is one, that the socket stands for. Raises: click.UsageError."""
    from ..address import Address

    target = Address.parse(address)
    if target.scheme != "http":
        raise click.UsageError(f"--socket needs an http:// address such as http://localhost/api, got {target}")
    return target.authority
