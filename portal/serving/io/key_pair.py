"""Load a certificate and its private key, with an error that says which of the files is wrong, and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigError

if TYPE_CHECKING:
    import ssl

__all__ = ["load_key_pair"]

FilePath = str | os.PathLike[str]


def load_key_pair(
    context: ssl.SSLContext, setting: str, chain: FilePath, key: FilePath | None, password: str | None
) -> None:
    """Give a context a certificate and its private key.

    Args:
        context: of a client or a server.
        setting: dotted path of the setting, for the error.
        chain: a PEM file of the certificate and those that signed it.
        key: a PEM file of the key; None if it is in the file of the certificate.
        password: of an encrypted key. Without one OpenSSL must not ask for it on the terminal.

    Raises: ConfigError if the files cannot be read or used.
    """
    try:
        context.load_cert_chain(chain, key, password or "")
    except (OSError, ValueError, TypeError) as error:  # ssl.SSLError is an OSError
        expected = f"a PEM certificate and its private key ({_reason(error, chain, key)})"
        raise ConfigError.invalid(setting, os.fspath(chain), expected) from error


def _reason(error: Exception, chain: FilePath, key: FilePath | None) -> str:
    holder = chain if key is None else key
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return f"the private key in {os.fspath(holder)} is that of another certificate"
    try:
        if b"BEGIN CERTIFICATE" not in Path(chain).read_bytes():
            return f"{os.fspath(chain)} has no certificate"
        if b"PRIVATE KEY" not in Path(holder).read_bytes():
            return f"{os.fspath(holder)} has no private key; name the file that has it"
    except (OSError, TypeError, ValueError) as unread:
        return str(unread)
    return str(error)
