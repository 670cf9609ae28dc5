"""Exceptions of callables, and the portal errors that are sent for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import (
    AddressError,
    CircuitOpenError,
    ConfigError,
    ConsumerError,
    FunctionError,
    JavaScriptError,
    PortalError,
    TransportError,
    ValidationError,
)
from ..errors.failure import function_error, is_failure

__all__ = ["function_error", "is_failure", "limit_exposure", "portal_errors_only", "require_sendable"]

#: Modules that make calls. A server responds without them, so an error that passed them is that of a nested call.
_CALLING = tuple(
    f"portal.{name}" for name in ("auth.oauth2", "consumer.", "function.resolved", "http.client.", "local.")
)
#: Errors that describe a network, also if another server sent them.
_OF_NETWORKS = (AddressError, CircuitOpenError, ConfigError, ConsumerError, TransportError)


def limit_exposure(error: PortalError, operation: str | None = None) -> None:
    """Keep from clients what a nested call reveals: the address that was called, attempts and hints.

    An error that another function raised is relayed without these. An error of the call itself, such as a refused
    connection, is hidden. An error that no nested call caused stays as it is.

    Args:
        error: what a function, or a middleware, has raised; it has the traceback.
        operation: the function, for the message to clients.
    """
    if error.exposure != "full":
        return
    modules = list(_modules_of(error))
    is_nested = any(name.startswith(_CALLING) for name in modules)
    if not is_nested and error.address is None and not isinstance(error, ConsumerError):
        return
    if error.received:
        is_relayed = not isinstance(error, _OF_NETWORKS)
    else:
        is_relayed = isinstance(error, ValidationError | FunctionError | JavaScriptError) or not _is_own(modules)
    error.exposure = "relayed" if is_relayed else "hidden"
    if error.received:
        error.context.pop("request_id", None)  # the other server chose it; this one logs its own
    if operation is not None and not is_relayed:
        error.context["operation"] = operation


def _is_own(modules: list[str]) -> bool:
    """Return whether this library raised an error that passed these modules, not a function."""
    return not modules or (modules[-1].startswith("portal.") and not modules[-1].startswith("portal.examples."))


def _modules_of(error: BaseException) -> Iterator[str]:
    trace = error.__traceback__
    while trace is not None:
        yield str(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next


def require_sendable(error: PortalError) -> None:
    """Raise the error to send in the place of one that has a member which is not JSON data."""
    if error.sendable() is not error:
        raise error.sendable() from error


@contextmanager
def portal_errors_only() -> Iterator[None]:
    """Run a callable inside: its portal errors pass unchanged, and other exceptions become FunctionErrors.

    Both then have `delivery` "executed". An exception that is not a failure passes unchanged.
    """
    try:
        yield
    except PortalError as error:
        error.delivery = "executed"
        limit_exposure(error)
        require_sendable(error)
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        raise function_error(error) from error
