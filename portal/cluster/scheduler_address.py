"""The address of a Dask scheduler: what a caller gives, the URL that Dask connects to, and the host and port."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..address import Address
from ..errors import AddressError, ConfigError

__all__ = ["SchedulerAddress", "require_port"]

_EXPECTED = '"host:port", "tcp://host:port", "tls://host:port" or a connected distributed.Client'
_SCHEMES = ("tcp", "tls")
_SETTING = "dask.scheduler"


class SchedulerAddress(NamedTuple):
    """Where a scheduler is.

    Attributes:
        url: as Dask connects to it, such as "tls://host:8786".
        authority: host and port, as in the addresses of its functions.
    """

    url: str
    authority: str

    @staticmethod
    def parse(text: object, *, encrypted: bool = False) -> SchedulerAddress:
        """Return the address of a text.

        Args:
            encrypted: whether a text without a scheme means TLS.

        Raises: ConfigError for another value.
        """
        scheme, separator, rest = text.partition("://") if isinstance(text, str) else ("", "", "")
        if not separator:
            scheme, rest = "tls" if encrypted else "tcp", scheme
        if scheme not in _SCHEMES:
            raise ConfigError.invalid(_SETTING, text, _EXPECTED)
        authority = _authority(rest, text)
        return SchedulerAddress(f"{scheme}://{authority}", authority)

    @staticmethod
    def of_client(client: Any) -> SchedulerAddress:
        """Return the address of the scheduler of a client.

        Raises: ConfigError for a client that is closed or asynchronous, and for a cluster inside a process.
        """
        if client.asynchronous or client.scheduler is None:
            raise ConfigError.invalid(_SETTING, client, _EXPECTED)
        url = str(client.scheduler.address)
        if url.startswith("inproc:"):
            hint = "make the cluster with LocalCluster(processes=True)"
            expected = "a scheduler with a host and a port"
            raise ConfigError(
                f"{_SETTING} must be {expected}, got {url}", path=_SETTING, value=url, expected=expected, hint=hint
            )
        return SchedulerAddress(url, _authority(url.partition("://")[2], url))


def _authority(text: str, given: object) -> str:
    if not set("/?#").isdisjoint(text):
        raise ConfigError.invalid(_SETTING, given, _EXPECTED)
    try:
        found = Address.parse(f"dask://{text}")
        require_port(found)
    except AddressError as error:
        raise ConfigError.invalid(_SETTING, given, _EXPECTED, cause=error) from error
    return found.authority


def require_port(address: Address) -> None:
    """Check that a dask:// address has a port. Raises: AddressError."""
    if not address.port:
        message = f"{address} must have the port of a scheduler, such as dask://{address.host}:8786"
        raise AddressError(message, reason="no port", address=address)
