"""What the exceptions of the libraries below mean for a call: which portal error, and whether it may have executed.

One table names every exception class of requests, urllib3, http.client, ssl and socket. A class that is not in it is
taken for the nearest class above it that is, and at worst for a connection lost after sending, which is the safe side.
The table holds for a library that makes no retries of its own: urllib3's have to be off.

"Sent" means that a byte of the request may have reached the server. What happened during the TLS handshake, or while a
proxy was asked for a tunnel (CONNECT, RFC 9110 section 9.3.6), was before that, whatever class it has; the same classes
are raised later on too, so the traceback is asked. urllib3's ProxyError says nothing: it is also what becomes of a
connection that a proxy closes after the request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum
from types import TracebackType

from ...address import Address
from ...calls.deadlines import timeout_error
from ...context import CallContext
from ...errors import (
    AddressError,
    ConfigError,
    OverloadedError,
    PortalError,
    ProtocolError,
    SerializationError,
    TransportError,
)
from .connection import NotSent, StaleConnection
from .proxies import Proxy

__all__ = ["FAILURES", "Failure", "as_os_error", "as_portal_error", "failure_of"]

#: Hint of an error after which the call must not be sent again by itself.
MAY_HAVE_RUN = "the call may have been executed"


class Failure(Enum):
    """What went wrong; the value is a word for it and whether the request may have been sent."""

    NOT_CONNECTED = "no connection", False
    UNTRUSTED = "no trusted connection", False  # trying again changes nothing
    UNKNOWN_CLIENT = "the server does not let this client in by its TLS certificate", False  # nor here
    REFUSED = "no way", False  # says the proxy; likewise
    ADDRESS = "an address that cannot be used", False
    SETTING = "a setting that cannot be used", False
    BODY = "a body that cannot be sent", False
    BUSY = "every connection is in use", False
    STALE = "the connection was closed without an answer", True
    LOST = "the connection was lost", True
    TIMEOUT = "no answer in time", True
    GARBLED = "a bad answer", True

    @property
    def sent(self) -> bool:
        """Whether a byte of the request may have reached the server, and so whether the call may have executed."""
        return self.value[1]


def _rows(module: str, **rows: str) -> dict[str, Failure]:
    return {f"{module}.{name}": Failure[kind] for kind, names in rows.items() for name in names.split()}


#: Failure by qualified class name; names, so that nothing is imported for it.
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
        GARBLED="JSONDecodeError HTTPError TooManyRedirects ContentDecodingError StreamConsumedError",
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
        GARBLED="DecodeError ResponseError ResponseNotChunked BodyNotHttplibCompatible InvalidHeader"
        " HeaderParsingError",
    ),
    **_rows(
        "http.client",
        NOT_CONNECTED="NotConnected CannotSendRequest",
        ADDRESS="InvalidURL",
        STALE="RemoteDisconnected",
        LOST="HTTPException IncompleteRead ImproperConnectionState CannotSendHeader ResponseNotReady"
        " UnimplementedFileMode",
        GARBLED="BadStatusLine LineTooLong UnknownProtocol UnknownTransferEncoding",
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
    **_rows("json.decoder", GARBLED="JSONDecodeError"),
    **_rows("portal.http.client.connection", NOT_CONNECTED="NotSent", STALE="StaleConnection"),
    **_rows("portal.http.client.urllib3_transport", REFUSED="ProxyRefused"),
}

#: OpenSSL's words for alerts about the client's certificate. In TLS 1.3 they come when the client takes the handshake
#: for done and has sent its request; the server has read none of it (RFC 8446 sections 4.4.2.4 and 6.2).
_CERTIFICATE_ALERTS = frozenset(
    {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_UNKNOWN_CA", "TLSV1_ALERT_ACCESS_DENIED"}
    | {f"SSLV3_ALERT_{what}" for what in ("BAD_CERTIFICATE", "NO_CERTIFICATE", "UNSUPPORTED_CERTIFICATE")}
    | {f"SSLV3_ALERT_CERTIFICATE_{what}" for what in ("REVOKED", "EXPIRED", "UNKNOWN")}
)
_MAX_DEPTH = 8  # of errors wrapped in errors
_OBJECT = re.compile(r"^[^:]*(?: object at 0x[0-9a-f]+>|\(host=[^)]*\)): ")
_USER_INFO = re.compile(r"//[^/@\s]*@")
_TOO_EARLY = {("ssl", "do_handshake"), ("http.client", "_tunnel"), ("urllib3.connection", "_tunnel")}  # to have sent
_REFUSED = re.compile(r"Tunnel connection failed: 4(?!08|29)")  # the words of http.client
_THROUGH = "through the proxy"
_LONGEST = 500  # characters of what a library says


def failure_of(error: BaseException) -> Failure:
    """What an exception of the libraries below means; what it wraps decides where it says more."""
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
    if kind.sent and any(_is_too_early(one.__traceback__) for one in chain):
        return Failure.REFUSED if _REFUSED.match(str(chain[-1])) else Failure.NOT_CONNECTED
    return kind


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps (`reason`, an argument, its cause), from the outside in.

    `__context__` is left out: it may be of another attempt.
    """
    seen: BaseException | None = error
    for _ in range(_MAX_DEPTH):
        if seen is None:
            return
        yield seen
        candidates = (getattr(seen, "reason", None), *seen.args, seen.__cause__)
        seen = next((one for one in candidates if isinstance(one, BaseException)), None)


def _look_up(cls: type[BaseException]) -> Failure | None:
    for base in cls.__mro__:
        found = FAILURES.get(f"{base.__module__}.{base.__qualname__}")
        if found is not None:
            return found
    return None


def _is_too_early(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        frame = traceback.tb_frame
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) in _TOO_EARLY:
            return True
        traceback = traceback.tb_next
    return False


def as_os_error(error: Exception) -> OSError:
    """The OSError of `wire.py` that an exception of a library stands for; raise it `from` the exception.

    NotSent, StaleConnection, TimeoutError, or another OSError for a connection lost after sending.
    """
    kind = failure_of(error)
    if isinstance(error, NotSent | StaleConnection):
        return error
    if not kind.sent:
        return NotSent(_words(error))
    if kind is Failure.TIMEOUT:
        return TimeoutError(_words(error))
    if kind is Failure.STALE:
        return StaleConnection(_words(error))
    return error if isinstance(error, OSError) else ConnectionError(_words(error))


def as_portal_error(
    error: BaseException, address: Address, context: CallContext, proxy: Proxy | None = None
) -> PortalError:
    """The portal error for what a library, or `as_os_error`, raised while a call was made.

    A failure after sending that comes with or after the context's deadline is a CallTimeout, and the context is
    cancelled then. A portal error is given back as it is.

    Args:
        proxy: that the way led through.
    """
    if isinstance(error, PortalError):
        return error
    kind = failure_of(error)
    if kind is Failure.TIMEOUT or (kind.sent and context.expired):
        context.cancel()
        made: PortalError = timeout_error(context, str(address))
        made.scheme, made.address = address.scheme, str(address)
    else:
        place = address.authority if proxy is None else f"{address.authority} {_THROUGH} {proxy.url}"
        made = _BUILDERS.get(kind, _transport_error)(kind, f"{place}: {_words(error)}")
        made.scheme, made.address = address.scheme, str(address)
        made.with_context(request_id=context.request_id)
    made.__cause__ = error
    return made


def _transport_error(kind: Failure, words: str) -> PortalError:
    if kind.sent:
        return TransportError(f"{kind.value[0]} to {words}", hint=MAY_HAVE_RUN, delivery="unknown")
    hint = "are both running?" if _THROUGH in words else "is the server running?"
    if "WRONG_VERSION_NUMBER" in words:  # OpenSSL's word for an answer that is no TLS
        hint = "it speaks no TLS there; is it http://?"
    return TransportError(f"{kind.value[0]} to {words}", hint=hint, delivery="not_sent")


def _untrusted(kind: Failure, words: str) -> PortalError:
    hint = "is its certificate from an authority that is trusted here?"
    return TransportError(f"{kind.value[0]} to {words}", hint=hint, delivery="not_sent", retryable=False)


def _unknown_client(kind: Failure, words: str) -> PortalError:
    hint = "ClientTLS(certificate=...) shows one that it trusts"
    return TransportError(f"{kind.value[0]}: {words}", hint=hint, delivery="not_sent", retryable=False)


def _refused(kind: Failure, words: str) -> PortalError:
    return TransportError(f"{kind.value[0]} to {words}; nothing was sent on", delivery="not_sent", retryable=False)


_BUILDERS: dict[Failure, Callable[[Failure, str], PortalError]] = {
    Failure.UNTRUSTED: _untrusted,
    Failure.UNKNOWN_CLIENT: _unknown_client,
    Failure.REFUSED: _refused,
    Failure.ADDRESS: lambda kind, words: AddressError(f"{kind.value[0]}: {words}", reason=kind.value[0]),
    Failure.SETTING: lambda kind, words: ConfigError(f"{kind.value[0]}: {words}"),
    Failure.BODY: lambda kind, words: SerializationError(f"{kind.value[0]} to {words}"),
    Failure.BUSY: lambda kind, words: OverloadedError(f"{kind.value[0]} to {words}; nothing was sent"),
    Failure.GARBLED: lambda kind, words: ProtocolError(
        f"{kind.value[0]} of {words}", hint=MAY_HAVE_RUN, delivery="unknown"
    ),
}


def _words(error: BaseException) -> str:
    """What the innermost error says, without addresses in memory and without a password in a URL."""
    innermost = list(_chain(error))[-1]
    text = str(innermost.args[-1] if innermost.args and not isinstance(innermost, OSError) else innermost)
    text = _USER_INFO.sub("//***@", _OBJECT.sub("", text))
    # A peer that answers with garbage must not write lines of its own into a log.
    text = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text[:_LONGEST])
    return text or type(innermost).__name__
