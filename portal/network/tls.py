"""ClientTLS: the TLS settings of a client."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._internal.settings import file_path, text
from ..errors import ConfigError

if TYPE_CHECKING:
    import ssl

__all__ = ["ClientTLS"]


@dataclass(frozen=True, slots=True)
class ClientTLS:
    """The TLS settings of a client.

    The files are read when the object is made, so that a wrong file is reported at once. They are read again when a
    client first connects.

    Attributes:
        ca: PEM file, or directory, of the trusted authorities; None for those of the system.
        certificate: PEM file of the client's certificate chain, for servers that require one.
        key: PEM file of the private key; None if the certificate's file contains it.
        password: password of an encrypted key; `repr` does not show it.

    Raises: ConfigError for a file that cannot be used.
    """

    ca: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        file_path("tls.ca", self.ca, optional=True)
        file_path("tls.certificate", self.certificate, optional=True)
        file_path("tls.key", self.key, optional=True)
        text("tls.password", self.password, optional=True, secret=True)
        if self.key is not None and self.certificate is None:
            raise ConfigError.invalid("tls.certificate", None, "given with tls.key")
        if self.ca is not None or self.certificate is not None:  # without files nothing can be wrong
            self.context()

    def context(self) -> ssl.SSLContext:
        """Return a context for TLS 1.2 or later, which checks the server's certificate and name.

        Raises: ConfigError for a file that cannot be used.
        """
        import ssl

        try:
            context = ssl.create_default_context()
            if self.ca is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                where = os.fspath(self.ca)
                context.load_verify_locations(**{"capath" if os.path.isdir(where) else "cafile": where})
        except (OSError, TypeError) as error:
            expected = f"a PEM file of certificate authorities ({error})"
            raise ConfigError.invalid("tls.ca", self.ca, expected) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            from ..serving.io.key_pair import load_key_pair  # a client without a certificate loads no server

            load_key_pair(context, "tls.certificate", self.certificate, self.key, self.password)
        return context
