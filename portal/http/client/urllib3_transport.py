"""Exchanges by urllib3: https and proxies, with its errors told as the wire tells its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..._internal.at_fork import new_lock, renew_after_fork
from ..._internal.settings import file_path, text
from ...address import Address
from ...errors import ConfigError
from ..messages.problem import PROBLEM
from .connection import NotSent
from .error_mapping import as_os_error
from .proxies import Proxy

if TYPE_CHECKING:
    import ssl

    import urllib3

__all__ = ["ClientTLS", "ProxyRefused", "Urllib3Response", "Urllib3Transport"]

_READ_SIZE = 64 * 1024


class ProxyRefused(NotSent):
    """The proxy wants to know first who is asking; it has sent nothing on (407, RFC 9110 section 15.5.8)."""


class Urllib3Response:
    """An answer of urllib3, in the shape of `wire.Answer`. One thread at a time."""

    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self._answer = answer
        self.status = answer.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in answer.headers.items()}

    def whole(self) -> bytes | None:
        """None: the body is read piece by piece."""
        return None

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes; OSError when it is cut off."""
        from urllib3.exceptions import HTTPError

        from ..._internal.openssl import clear_error_queue

        try:
            clear_error_queue()
            while piece := self._answer.read1(_READ_SIZE):
                yield piece
                clear_error_queue()  # the caller may have broken a TLS connection of its own meanwhile
        except (HTTPError, OSError) as error:
            raise as_os_error(error) from error
        if self._answer.length_remaining:
            raise ConnectionResetError("the answer was cut off")
        self._answer.release_conn()

    def close(self) -> None:
        """Give the answer up; after its end this does nothing."""
        self._answer.close()


@dataclass(frozen=True, slots=True)
class ClientTLS:
    """What a client trusts and shows of itself over https.

    Attributes:
        ca: PEM file, or directory, of the authorities that it trusts; those of certifi, or the system's, when None.
        certificate: PEM file of its own certificate chain, for servers that ask for one.
        key: PEM file of the private key; in the certificate's own file when None.
        password: of an encrypted key; not shown by `repr`.

    The files are read when it is made, to tell at once what does not fit, and again when a client first connects.

    Raises: ConfigError for a file that does not fit.
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
            raise ConfigError.invalid("tls.key", self.key, "None when there is no certificate")
        if self.ca is not None or self.certificate is not None:  # without files there is nothing to be wrong
            self.context()

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, the server's certificate and name checked. ConfigError for a file that does not fit."""
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
            try:
                context.load_cert_chain(self.certificate, self.key, self.password or "")
            except (OSError, TypeError) as error:
                expected = f"a PEM certificate and its private key ({error})"
                raise ConfigError.invalid("tls.certificate", self.certificate, expected) from error
        return context


class Urllib3Transport:
    """Connections kept by urllib3, made on first use.

    Args:
        connections: kept for each server.
        tls: what is trusted and shown over https.

    Threads: any.
    """

    def __init__(self, connections: int, tls: ClientTLS) -> None:
        self._connections = connections
        self._tls = tls
        self._lock = new_lock()  # guards adding to the managers
        self._managers: dict[Proxy | None, urllib3.PoolManager] = {}
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Let go of the parent's connections: two processes on one TLS connection would break it."""
        self._managers = {}

    def exchange(
        self,
        proxy: Proxy | None,
        method: str,
        address: Address,
        body: bytes | None,
        headers: Mapping[str, str],
        deadline: float | None,
        connect_timeout: float,
        read_timeout: float | None,
    ) -> Urllib3Response:
        """Send a request and read the head of its answer.

        Raises: ProxyRefused; NotSent and other OSErrors as `wire.ConnectionPool.exchange` does.
        """
        import urllib3

        from ..._internal.openssl import clear_error_queue
        from .timed_pools import LIMITS

        left = None if deadline is None else max(0.001, deadline - monotonic())
        connect = connect_timeout if left is None else min(left, connect_timeout)
        read = min((one for one in (left, read_timeout) if one is not None), default=None)
        limits = LIMITS.set((deadline, read_timeout))
        clear_error_queue()
        try:
            answer = self._manager(proxy).request(
                method,
                str(address).partition("#")[0],
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=connect, read=read, total=left),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            told = as_os_error(error)
            if isinstance(told, NotSent) and deadline is not None and monotonic() >= deadline:
                raise TimeoutError("the deadline has passed") from None  # as on the wire
            raise told from error
        finally:
            LIMITS.reset(limits)
        return _let_through(Urllib3Response(answer), proxy)

    def _manager(self, proxy: Proxy | None) -> urllib3.PoolManager:
        with self._lock:
            manager = self._managers.get(proxy)
            if manager is None:
                manager = self._managers[proxy] = _manager_of(proxy, self._tls.context(), self._connections)
            return manager

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            managers, self._managers = self._managers, {}
        for manager in managers.values():
            manager.clear()


def _let_through(answer: Urllib3Response, proxy: Proxy | None) -> Urllib3Response:
    """The answer, unless it is the proxy's own 407; a portal behind it can only have said 407 in a problem document."""
    if answer.status == 407 and proxy is not None and PROBLEM not in answer.headers.get("content-type", ""):
        answer.close()
        raise ProxyRefused("407 Proxy Authentication Required")
    return answer


def _manager_of(proxy: Proxy | None, tls: ssl.SSLContext, connections: int) -> urllib3.PoolManager:
    """The connections to every server, or to those behind one proxy, where `tls` is for that one as well."""
    from .timed_pools import manager_of

    options: dict[str, Any] = {"maxsize": connections, "num_pools": 64, "retries": False, "ssl_context": tls}
    if proxy is None:
        return manager_of(None, **options)
    headers = {} if proxy.authorization is None else {"Proxy-Authorization": proxy.authorization}
    return manager_of(proxy.url, proxy_headers=headers, proxy_ssl_context=tls, **options)
