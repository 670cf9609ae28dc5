"""BaseAddress: the addresses below the base of a server, and errors as the client of that server gets them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._internal.closing import close_and_log
from .._internal.log import get_logger
from ..address import Address
from ..context import CallContext
from ..errors import AddressError, CallCancelled, CallTimeout, ConfigError, PortalError, TransportError
from ..network.failure_log import log_failure
from ..network.problem import PROBLEM, encode_problem, error_of

__all__ = ["BaseAddress", "as_received", "received_items"]

_log = get_logger("portal.testing")
_SCHEMES = ("http", "https", "ws", "wss")
_EXPECTED = 'the base address of a server, such as "http://stock.example/api"'


class BaseAddress:
    """The base address of a server.

    Args:
        address: its address, without query and fragment.

    Attributes:
        address: the base address.

    Raises: ConfigError for anything else.

    Threads: immutable; any thread may read it.
    """

    def __init__(self, address: Address | str) -> None:
        try:
            self.address = Address.of(address)
        except AddressError as error:
            raise ConfigError.invalid("testing.base", address, _EXPECTED, cause=error) from error
        at = self.address
        if at.scheme not in _SCHEMES or at.query or at.fragment or at.version is not None:
            raise ConfigError.invalid("testing.base", str(address), _EXPECTED)

    def path_of(self, address: Address) -> tuple[str, ...] | None:
        """Return the segments of an address below the base; None for an address that is not below it."""
        base = self.address
        if address.origin != base.origin or address.segments[: len(base.segments)] != base.segments:
            return None
        return address.segments[len(base.segments) :]


def as_received(error: PortalError, address: Address, context: CallContext) -> PortalError:
    """Return an error as the client of a server gets it: its class, code and members, and of its text what is sent.

    An error of the network, or of a caller that has stopped waiting, is returned as it is.
    """
    if isinstance(error, CallTimeout | CallCancelled | TransportError) and not error.executed:
        error.scheme, error.address = address.scheme, str(address)
        return error
    log_failure(_log, error, context.request_id)
    error.with_context(request_id=context.request_id)
    received = error_of(error.status, PROBLEM, encode_problem(error, debug=False), {})
    received.scheme, received.address = address.scheme, str(address)
    return received


def received_items(items: Iterator[Any], address: Address, context: CallContext) -> Iterator[Any]:
    """Yield the items of a stream; an error becomes the one that the client of a server gets."""
    try:
        yield from items
    except PortalError as error:
        raise as_received(error, address, context) from error
    finally:
        close_and_log(items, "a mocked stream")
