"""How connections to a Dask scheduler are encrypted: a `distributed.Security`, or the configuration of Dask."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import ConfigError

__all__ = ["has_certificates", "security_of"]

_SETTING = "dask.security"


def security_of(given: Any) -> Any:
    """Return the security of a client that is made here.

    Args:
        given: a `distributed.Security`; None for that of the worker that this runs on, or else Dask's configuration.

    Raises: ConfigError for another value.
    """
    distributed = import_module("distributed")
    if given is None:
        try:
            return distributed.get_worker().security
        except ValueError:  # not on a worker
            return distributed.Security()
    if not isinstance(given, distributed.Security):
        raise ConfigError.invalid(_SETTING, given, "a distributed.Security or None")
    return given


def has_certificates(security: Any) -> bool:
    """Return whether a client can connect with TLS. Raises: ConfigError for files that cannot be read."""
    try:
        return security.get_connection_args("client")["ssl_context"] is not None
    except Exception as error:  # OSError, ssl.SSLError, or what Dask raises for an incomplete configuration
        message = f"{_SETTING} has certificates that cannot be loaded: {type(error).__name__}: {error}"
        raise ConfigError(message, path=_SETTING, cause=error) from error
