"""Errors of addresses and names."""

from __future__ import annotations

from typing import Any

from .base import PortalError

__all__ = ["AddressError", "RegistryError"]


class AddressError(PortalError):
    """An address that cannot be parsed or used.

    Attributes:
        position: index of the first offending character in the text, or None.
        reason: what is wrong there, in a few words.
    """

    code = "address_error"
    status = 400
    rpc_code = -32010
    members = ("position", "reason")

    def __init__(self, message: str = "", *, position: int | None = None, reason: str = "", **common: Any) -> None:
        super().__init__(message or reason, **common)
        self.position = position
        self.reason = reason


class RegistryError(PortalError):
    """A name or address that is unknown, already taken, or not a valid name.

    Attributes:
        name: the name looked up or registered, or None.
        kind: "conflict", "not_found" or "invalid".
    """

    code = "registry_error"
    status = 404
    rpc_code = -32601
    members = ("name", "kind")

    def __init__(self, message: str = "", *, name: str | None = None, kind: str = "not_found", **common: Any) -> None:
        super().__init__(message, **common)
        self.name = name
        self.kind = kind
