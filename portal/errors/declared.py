"""Error classes of a server, as the modules that `portal stub` writes declare them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .base import PortalError

__all__ = ["declared_error"]

ErrorT = TypeVar("ErrorT", bound=PortalError)


def declared_error(code: str, *, status: int, retryable: bool = False) -> Callable[[type[ErrorT]], type[ErrorT]]:
    """Give a class the code of an error that a server declares, so that calls raise it.

    The class is declared with `abstract=True`. If a class of this process has the code already, as in a test that runs
    the server and the client, that class takes the place of the new one.

    Args:
        code: the code.
        status: the HTTP status.
        retryable: whether a call that failed with it may succeed if it is sent again.
    """

    def declare(cls: type[ErrorT]) -> Any:
        return cls.declare(code, status=status, retryable=retryable)

    return declare
