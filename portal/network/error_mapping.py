"""Map the exceptions of HTTP libraries to portal errors, and tell whether the call may have been executed.

One table names every exception class of requests, urllib3, http.client, ssl and socket. A class that is not in the
table counts as its nearest base class in the table. Without one it counts as a connection lost after sending, which is
the safe side. The table is for libraries that make no retries of their own: those of urllib3 must be off.

"Sent" means that a byte of the request may have reached the server. A failure of the TLS handshake, or of the request
for a tunnel through a proxy (CONNECT, RFC 9110 section 9.3.6), was before that. The same classes are raised later too,
so the traceback decides. urllib3 also raises ProxyError when a proxy closes the connection after the request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from traceback import walk_tb
from types import TracebackType

from ..address import Address
from ..calls.deadlines import StreamProgress, timeout_error
from ..context import CallContext
from ..errors import (
    AddressError,
    ConfigError,
    OverloadedError,
    PortalError,
    ProtocolError,
    SerializationError,
    TransportError,
)
from ..portal import is_unstarted
from .dial import NotSent, StaleConnection
from .proxies import Proxy

__all__ = [
    "FAILURES",
    "Failure",
    "as_os_error",
    "as_portal_error",
    "clear_locals",
    "failure_of",
    "located_protocol_error",
]

#: Hint of an error after which the call must not be sent again by itself.
MAY_HAVE_RUN = "the call may have been executed"
_START_HINT = "the portal of this process at this address is not started; use `with portal:` or portal.start()"


class Failure(Enum):
    """A kind of failure; the value is its description, and whether the request may have been sent."""

    NOT_CONNECTED = "cannot connect to", False
    UNTRUSTED = "cannot trust the certificate of", False
    UNKNOWN_CLIENT = "client certificate missing or rejected at", False
    REJECTED_BY_PROXY = "no permission to reach", False
    ADDRESS = "unusable address", False
    SETTING = "unusable setting for", False
    BODY = "unusable body for", False
    BUSY = "all connections in use to", False
    STALE = "connection closed without a response by", True
    LOST = "lost the connection to", True
    TIMEOUT = "no response in time from", True
    MALFORMED = "malformed response from", True

    @property
    def description(self) -> str:
        """The words for the failure; the name of the server follows them in a message."""
        return self.value[0]

    @property
    def sent(self) -> bool:
        """Whether a byte of the request may have reached the server, so that the call may have been executed."""
        return self.value[1]


def _rows(module: str, **rows: str) -> dict[str, Failure]:
    return {f"{module}.{name}": Failure[kind] for kind, names in rows.items() for name in names.split()}


#: Failure by qualified class name. Names, so that the libraries need not be imported.
FAILURES: dict[str, Failure] = {
    **_rows(
        "requests.exceptions",
        NOT_CONNECTED="ConnectTimeout",
        ADDRESS="URLRequired MissingSchema InvalidSchema InvalidURL",
        SETTING="InvalidHeader InvalidProxyURL RequestsWarning FileModeWarning RequestsDependencyWarning",
        BODY="InvalidJSONError",
        LOST="RequestException ConnectionError ProxyError SSLError ChunkedEncodingError RetryError"
        " UnrewindableBodyError",
        TIMEOUT="Timeout ReadTimeout",
        MALFORMED="JSONDecodeError HTTPError TooManyRedirects ContentDecodingError StreamConsumedError",
    ),
    **_rows(
        "urllib3.exceptions",
        NOT_CONNECTED="ConnectTimeoutError NewConnectionError NameResolutionError ClosedPoolError",
        ADDRESS="LocationValueError LocationParseError URLSchemeUnknown HostChangedError",
        SETTING="ProxySchemeUnknown ProxySchemeUnsupported TimeoutStateError HTTPWarning SecurityWarning"
        " InsecureRequestWarning NotOpenSSLWarning SystemTimeWarning InsecurePlatformWarning DependencyWarning",
        BUSY="EmptyPoolError",
        LOST="HTTPError PoolError RequestError MaxRetryError ProxyError SSLError ProtocolError FullPoolError"
        " IncompleteRead InvalidChunkLength UnrewindableBodyError",
        TIMEOUT="TimeoutError ReadTimeoutError",
        MALFORMED="DecodeError ResponseError ResponseNotChunked BodyNotHttplibCompatible InvalidHeader"
        " HeaderParsingError",
    ),
    **_rows(
        "http.client",
        NOT_CONNECTED="NotConnected CannotSendRequest",
        ADDRESS="InvalidURL",
        STALE="RemoteDisconnected",
        LOST="HTTPException IncompleteRead ImproperConnectionState CannotSendHeader ResponseNotReady"
        " UnimplementedFileMode",
        MALFORMED="BadStatusLine LineTooLong UnknownProtocol UnknownTransferEncoding",
    ),
    **_rows(
        "ssl",
        UNTRUSTED="SSLCertVerificationError",
        LOST="SSLError SSLZeroReturnError SSLWantReadError SSLWantWriteError SSLSyscallError SSLEOFError",
    ),
    **_rows("socket", NOT_CONNECTED="gaierror herror"),
    **_rows(
        "builtins",
        NOT_CONNECTED="ConnectionRefusedError FileNotFoundError UnicodeError",
        LOST="OSError ConnectionError ConnectionResetError ConnectionAbortedError BrokenPipeError",
        TIMEOUT="TimeoutError",
    ),
    **_rows("json.decoder", MALFORMED="JSONDecodeError"),
    **_rows("portal.network.dial", NOT_CONNECTED="NotSent", STALE="StaleConnection", REJECTED_BY_PROXY="ProxyRefused"),
}

#: OpenSSL's names of alerts about the client's certificate. In TLS 1.3 they may arrive after the client has sent its
#: request, but the server has not read it (RFC 8446 sections 4.4.2.4 and 6.2).
_CERTIFICATE_ALERTS = frozenset(
    {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_UNKNOWN_CA", "TLSV1_ALERT_ACCESS_DENIED"}
    | {f"SSLV3_ALERT_{what}" for what in ("BAD_CERTIFICATE", "NO_CERTIFICATE", "UNSUPPORTED_CERTIFICATE")}
    | {f"SSLV3_ALERT_CERTIFICATE_{what}" for what in ("REVOKED", "EXPIRED", "UNKNOWN")}
)
_MAX_DEPTH = 8  # of errors wrapped in errors
_OBJECT = re.compile(r"^[^:]*(?: object at 0x[0-9a-f]+>|\(host=[^)]*\)): ")
_USER_INFO = re.compile(r"//[^/@\s]*@")
#: Functions (module, name) that run before the request is sent.
_BEFORE_SENDING = {("ssl", "do_handshake"), ("http.client", "_tunnel"), ("urllib3.connection", "_tunnel")}
_TUNNEL_REJECTED = re.compile(r"Tunnel connection failed: 4(?!08|29)")  # the message of http.client
_THROUGH_PROXY = "through the proxy"
_MAX_DETAIL = 500  # characters of a library's message


def failure_of(error: BaseException) -> Failure:
    """Return what an exception of a library means. An exception that it wraps decides if that is more specific."""
    chain = list(_chain(error))
    if any(getattr(one, "reason", None) in _CERTIFICATE_ALERTS for one in chain if isinstance(one, OSError)):
        return Failure.UNKNOWN_CLIENT
    kind = Failure.LOST
    for one in chain:
        found = _look_up(type(one))
        if found is not None and found is not Failure.LOST:
            kind = found
            break
    if kind is Failure.NOT_CONNECTED and isinstance(error, NotSent) and error.__cause__ is not None:
        inner = failure_of(error.__cause__)
        return kind if inner.sent else inner
    if kind.sent and any(_is_before_sending(one.__traceback__) for one in chain):
        return Failure.REJECTED_BY_PROXY if _TUNNEL_REJECTED.match(str(chain[-1])) else Failure.NOT_CONNECTED
    return kind


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that it wraps (`reason`, an argument, its cause), the outermost first.

    `__context__` is left out, as it may be the error of another attempt.
    """
    seen: BaseException | None = error
    for _ in range(_MAX_DEPTH):
        if seen is None:
            return
        yield seen
        candidates = (getattr(seen, "reason", None), *seen.args, seen.__cause__)
        seen = next((one for one in candidates if isinstance(one, BaseException)), None)


def _is_of_other_code(error: BaseException) -> bool:
    """Return whether no library raised an exception, but code that it calls, such as a hook of a requests.Session."""
    return all(_look_up(type(one)) is None for one in _chain(error))


def _look_up(cls: type[BaseException]) -> Failure | None:
    for base in cls.__mro__:
        found = FAILURES.get(f"{base.__module__}.{base.__qualname__}")
        if found is not None:
            return found
    return None


def _is_before_sending(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        frame = traceback.tb_frame
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) in _BEFORE_SENDING:
            return True
        traceback = traceback.tb_next
    return False


def clear_locals(error: BaseException) -> None:
    """Clear the local variables of the frames of urllib3 that an exception has left, and those that it has followed.

    Some of them are exceptions, and those frames are in their tracebacks. Only the garbage collector would free such a
    cycle, with the sockets and the request that belong to it.
    """
    followed: BaseException | None = error
    for _ in range(_MAX_DEPTH):
        if followed is None:
            return
        for frame, _ in walk_tb(followed.__traceback__):
            if frame.f_globals.get("__name__", "").startswith("urllib3."):
                with suppress(RuntimeError):  # it still runs
                    frame.clear()
        followed = followed.__cause__ or followed.__context__


def as_os_error(error: Exception) -> OSError:
    """Return the OSError for an exception of a library, as HTTPConnection raises it.

    Returns: NotSent, StaleConnection, TimeoutError, or another OSError for a connection lost after sending. Raise it
        `from` the exception.
    """
    kind = failure_of(error)
    if isinstance(error, NotSent | StaleConnection):
        return error
    if not kind.sent:
        return NotSent(_detail(error))
    if kind is Failure.TIMEOUT:
        return TimeoutError(_detail(error))
    if kind is Failure.STALE:
        return StaleConnection(_detail(error))
    return error if isinstance(error, OSError) else ConnectionError(_detail(error))


def as_portal_error(
    error: BaseException,
    address: Address,
    context: CallContext,
    proxy: Proxy | None = None,
    stream: StreamProgress | None = None,
) -> PortalError:
    """Return the portal error for an exception that was raised during a call.

    A failure after sending, at or after the deadline of the context, becomes a CallTimeout and cancels the context. A
    portal error is returned as it is.

    Args:
        error: the exception of a library, or the result of `as_os_error`.
        proxy: the proxy through which the request was sent.
        stream: the stream that had begun, for the message of a CallTimeout.
    """
    if isinstance(error, PortalError):
        return error
    kind = failure_of(error)
    if kind is Failure.TIMEOUT or (kind.sent and context.expired):
        context.cancel()
        mapped: PortalError = timeout_error(context, str(address)) if stream is None else stream.timeout_error()
        mapped.scheme, mapped.address = address.scheme, str(address)
    else:
        server = address.authority if proxy is None else f"{address.authority} {_THROUGH_PROXY} {proxy.url}"
        if _is_of_other_code(error):
            message = f"a request to {server} failed with {type(error).__name__}: {_detail(error)}"
            mapped = TransportError(message, hint=MAY_HAVE_RUN, delivery="unknown")
        else:
            mapped = _BUILDERS.get(kind, _transport_error)(kind, f"{server}: {_detail(error)}")
        if kind is Failure.NOT_CONNECTED and proxy is None and (hint := _unserved_hint(address)):
            mapped.hint = hint
        mapped.scheme, mapped.address = address.scheme, str(address)
        mapped.with_context(request_id=context.request_id)
    mapped.__cause__ = error
    return mapped


def _unserved_hint(address: Address) -> str | None:
    """Return why nothing can be listening at an address: it is of a portal of this process that is not started."""
    if address.authority.endswith(":0"):
        return "port 0 stands for a free port, which apply and start choose; use the address that apply returns"
    return _START_HINT if is_unstarted(address) else None


def located_protocol_error(error: ProtocolError, address: Address) -> ProtocolError:
    """Return the error for a malformed response, with the address of the call."""
    return ProtocolError(f"{address}: {error}", scheme=address.scheme, address=address)


def _transport_error(kind: Failure, detail: str) -> PortalError:
    message = f"{kind.description} {detail}"
    if kind.sent:
        return TransportError(message, hint=MAY_HAVE_RUN, delivery="unknown")
    hint = "are both running?" if _THROUGH_PROXY in detail else "is the server running?"
    if "WRONG_VERSION_NUMBER" in detail:  # OpenSSL's name for a response that is not TLS
        hint = "the server does not use TLS on this port; try http:// or ws://"
    return TransportError(message, hint=hint, delivery="not_sent")


def _untrusted(kind: Failure, detail: str) -> PortalError:
    hint = "pass the authority that signed it in ClientTLS(ca=...)"
    return TransportError(f"{kind.description} {detail}", hint=hint, delivery="not_sent", retryable=False)


def _unknown_client(kind: Failure, detail: str) -> PortalError:
    hint = "pass a certificate that the server trusts in ClientTLS(certificate=...)"
    return TransportError(f"{kind.description} {detail}", hint=hint, delivery="not_sent", retryable=False)


def _rejected_by_proxy(kind: Failure, detail: str) -> PortalError:
    message = f"{kind.description} {detail}; the request was not sent"
    return TransportError(message, delivery="not_sent", retryable=False)


_BUILDERS: dict[Failure, Callable[[Failure, str], PortalError]] = {
    Failure.UNTRUSTED: _untrusted,
    Failure.UNKNOWN_CLIENT: _unknown_client,
    Failure.REJECTED_BY_PROXY: _rejected_by_proxy,
    Failure.ADDRESS: lambda kind, detail: AddressError(f"{kind.description} {detail}", reason=kind.description),
    Failure.SETTING: lambda kind, detail: ConfigError(f"{kind.description} {detail}"),
    Failure.BODY: lambda kind, detail: SerializationError(f"{kind.description} {detail}"),
    Failure.BUSY: lambda kind, detail: OverloadedError(f"{kind.description} {detail}; the request was not sent"),
    Failure.MALFORMED: lambda kind, detail: ProtocolError(
        f"{kind.description} {detail}", hint=MAY_HAVE_RUN, delivery="unknown"
    ),
}


def _detail(error: BaseException) -> str:
    """Return the message of the innermost error, without memory addresses and without the password of a URL."""
    innermost = list(_chain(error))[-1]
    text = str(innermost.args[-1] if innermost.args and not isinstance(innermost, OSError) else innermost)
    text = _USER_INFO.sub("//***@", _OBJECT.sub("", text))
    # The peer decides some of the text, and must not write lines of its own into a log.
    text = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text[:_MAX_DETAIL])
    return text or type(innermost).__name__
