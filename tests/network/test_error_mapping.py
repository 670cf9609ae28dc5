from __future__ import annotations

import http.client
import inspect
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import requests
import requests.exceptions
import trustme
import urllib3
import urllib3.exceptions

from portal import Consumer, errors, function
from portal.address import Address
from portal.context import CallContext
from portal.errors import PortalError, TransportError
from portal.network.dial import NotSent, StaleConnection
from portal.network.error_mapping import FAILURES, Failure, as_os_error, as_portal_error, clear_locals, failure_of

WAIT = 20.0
TARGET = Address.parse("https://peer.example:8443/api/f")


def classes_of(module: ModuleType) -> Iterator[type[BaseException]]:
    """Yield every exception class that a module defines."""
    for value in vars(module).values():
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == module.__name__:
            yield value


def below(cls: type[BaseException]) -> Iterator[type[BaseException]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from below(subclass)


ROOTS = [
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    ssl.SSLError,
]
KNOWN: set[type[BaseException]] = {
    *(cls for module in (requests.exceptions, urllib3.exceptions, http.client, ssl) for cls in classes_of(module)),
    *(
        cls
        for root in ROOTS
        for cls in (root, *below(root))
        if cls.__module__.partition(".")[0] in ("requests", "urllib3", "http", "ssl")
    ),
    socket.gaierror,
    socket.herror,
    OSError,
    TimeoutError,
    ConnectionError,
    ConnectionRefusedError,
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
}


def qualified(cls: type[BaseException]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def bare(cls: type[BaseException]) -> BaseException:
    """Return an instance without calling the constructor."""
    error = cls.__new__(cls)
    error.args = ("words",)
    return error


ORDERED: list[type[BaseException]] = sorted(KNOWN, key=qualified)


#: The table was written for this version, which gets no new classes. Later versions add some to ssl and http.client.
WRITTEN_FOR = (3, 11)
STANDARD = ("http.client", "ssl")


def row_of(cls: type[BaseException]) -> Failure:
    """Return the row of a class; in a Python newer than the table that of its nearest base class, or LOST."""
    name = qualified(cls)
    if name not in FAILURES and cls.__module__ in STANDARD and sys.version_info[:2] > WRITTEN_FOR:
        return next((FAILURES[qualified(base)] for base in cls.__mro__ if qualified(base) in FAILURES), Failure.LOST)
    assert name in FAILURES, f"{name} has no row"
    return FAILURES[name]


@pytest.mark.parametrize("cls", ORDERED, ids=lambda cls: getattr(cls, "__name__", ""))
def test_every_class_has_a_row(cls: type[BaseException]) -> None:
    kind = row_of(cls)
    assert failure_of(bare(cls)) is kind
    error = as_portal_error(bare(cls), TARGET, CallContext())
    assert type(error) is not PortalError
    assert error.address == str(TARGET)
    assert error.scheme == "https"
    assert error.request_id
    assert isinstance(error.cause, cls)
    if isinstance(error, TransportError):
        assert error.may_have_executed is kind.sent
    elif not kind.sent:
        assert isinstance(
            error, errors.AddressError | errors.ConfigError | errors.SerializationError | errors.OverloadedError
        )


def made_later(module: str, base: type[BaseException]) -> type[BaseException]:
    return type("MadeLater", (base,), {"__module__": module})


@pytest.mark.parametrize(
    ("module", "base", "kind"),
    [
        ("ssl", ssl.SSLError, Failure.LOST),
        ("ssl", ssl.SSLCertVerificationError, Failure.UNTRUSTED),
        ("ssl", Exception, Failure.LOST),  # such as _GiveupOnSSLSendfile of CPython 3.15
        ("http.client", http.client.HTTPException, Failure.LOST),
        ("http.client", http.client.BadStatusLine, Failure.MALFORMED),
        ("http.client", http.client.RemoteDisconnected, Failure.STALE),
        ("http.client", http.client.NotConnected, Failure.NOT_CONNECTED),
        ("http.client", ValueError, Failure.LOST),
    ],
)
def test_a_class_of_a_newer_python_counts_as_its_nearest_base_class(
    module: str, base: type[BaseException], kind: Failure
) -> None:
    cls = made_later(module, base)
    assert failure_of(bare(cls)) is kind
    wrapped = urllib3.exceptions.ProtocolError("Connection aborted.", bare(cls))
    assert failure_of(wrapped) is kind
    error = as_portal_error(bare(cls), TARGET, CallContext())
    assert isinstance(error, errors.ProtocolError if kind is Failure.MALFORMED else TransportError)
    if isinstance(error, TransportError):
        assert error.may_have_executed is kind.sent


def test_the_search_for_classes_finds_them() -> None:
    names = {cls.__name__ for cls in KNOWN}
    assert {"ChunkedEncodingError", "NameResolutionError", "RemoteDisconnected", "SSLEOFError", "gaierror"} <= names
    assert len(KNOWN) > 70


def test_every_row_names_a_class_that_exists() -> None:
    for name in FAILURES:
        module, _, cls = name.rpartition(".")
        __import__(module)
        assert issubclass(getattr(sys.modules[module], cls), BaseException)


def test_the_table_imports_no_library() -> None:
    code = "import sys, portal.network.error_mapping; print([n for n in ('requests', 'urllib3') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# wrapped exceptions


def reset() -> ConnectionResetError:
    return ConnectionResetError(104, "Connection reset by peer")


POOL: Any = urllib3.HTTPSConnectionPool("peer.example")
CASES: list[tuple[BaseException, Failure]] = [
    (requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", reset())), Failure.LOST),
    (
        requests.ConnectionError(
            urllib3.exceptions.ProtocolError("aborted", http.client.RemoteDisconnected("closed without response"))
        ),
        Failure.STALE,
    ),
    (
        requests.ConnectionError(
            urllib3.exceptions.MaxRetryError(POOL, "/", urllib3.exceptions.NewConnectionError(POOL, "refused"))
        ),
        Failure.NOT_CONNECTED,
    ),
    (
        urllib3.exceptions.MaxRetryError(
            POOL, "/", urllib3.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed"))
        ),
        Failure.UNTRUSTED,
    ),
    (urllib3.exceptions.ProtocolError("aborted", http.client.BadStatusLine("SSH-2.0")), Failure.MALFORMED),
    (urllib3.exceptions.SSLError(ssl.SSLEOFError("EOF occurred")), Failure.LOST),
    (urllib3.exceptions.ProtocolError("broken", TimeoutError("timed out")), Failure.TIMEOUT),
    (
        urllib3.exceptions.ProxyError(
            "Unable to connect to proxy", urllib3.exceptions.NewConnectionError(POOL, "refused")
        ),
        Failure.NOT_CONNECTED,
    ),
    # also after the request: urllib3 does not tell that it was connected
    (
        urllib3.exceptions.ProxyError("Unable to connect to proxy", http.client.RemoteDisconnected("closed")),
        Failure.STALE,
    ),
    (urllib3.exceptions.ProxyError("Unable to connect to proxy", reset()), Failure.LOST),
    (NotSent("refused"), Failure.NOT_CONNECTED),
    (StaleConnection("closed"), Failure.STALE),
    (KeyError("a defect"), Failure.LOST),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_wrapped_exception_decides(case: int) -> None:
    error, kind = CASES[case]
    assert failure_of(error) is kind


def test_exceptions_may_wrap_each_other_in_a_circle() -> None:
    error = requests.ConnectionError("x")
    error.args = (error,)
    assert failure_of(error) is Failure.LOST


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        (urllib3.exceptions.NewConnectionError(POOL, "refused"), NotSent),
        (urllib3.exceptions.LocationParseError("http://[x"), NotSent),
        (urllib3.exceptions.EmptyPoolError(POOL, "full"), NotSent),
        (urllib3.exceptions.ReadTimeoutError(POOL, "/", "slow"), TimeoutError),
        (urllib3.exceptions.ProtocolError("a", http.client.RemoteDisconnected("b")), StaleConnection),
        (urllib3.exceptions.ProtocolError("a", reset()), ConnectionError),
        (reset(), ConnectionResetError),
        (NotSent("x"), NotSent),
        (StaleConnection("x"), StaleConnection),
    ],
)
def test_as_os_error(error: Exception, cls: type[OSError]) -> None:
    made = as_os_error(error)
    assert type(made) is cls
    assert str(made)
    made.__cause__ = None if made is error else error
    assert failure_of(made).sent is failure_of(error).sent  # with and without as_os_error


def test_not_sent_keeps_its_cause() -> None:
    made = NotSent("x")
    made.__cause__ = urllib3.exceptions.EmptyPoolError(POOL, "full")
    assert isinstance(as_portal_error(made, TARGET, CallContext()), errors.OverloadedError)
    made.__cause__ = reset()  # while connecting
    assert failure_of(made) is Failure.NOT_CONNECTED


# the deadline


@pytest.mark.parametrize(
    ("error", "cls"),
    [(reset(), errors.CallTimeout), (TimeoutError("x"), errors.CallTimeout), (NotSent("x"), errors.TransportError)],
)
def test_a_failure_after_sending_and_after_the_deadline_is_a_timeout(error: OSError, cls: type[PortalError]) -> None:
    context = CallContext.for_call(0.0)
    made = as_portal_error(error, TARGET, context)
    assert type(made) is cls
    assert context.cancelled is (cls is errors.CallTimeout)
    assert made.cause is error


def test_a_portal_error_is_returned_as_it_is() -> None:
    error = TransportError("x", delivery="not_sent")
    assert as_portal_error(error, TARGET, CallContext()) is error


def test_an_exception_of_other_code_is_named() -> None:
    error = as_portal_error(LookupError("no such token"), TARGET, CallContext())
    assert type(error) is TransportError
    assert error.message == "a request to peer.example:8443 failed with LookupError: no such token"
    assert error.may_have_executed
    cause = as_portal_error(requests.ConnectionError(LookupError("gone")), TARGET, CallContext())
    assert cause.message == "lost the connection to peer.example:8443: gone"


def test_messages_show_no_password_and_no_memory_address() -> None:
    shown = str(
        as_portal_error(
            requests.exceptions.InvalidProxyURL("Please check proxy URL http://ann:secret@proxy:1"),
            TARGET,
            CallContext(),
        )
    )
    assert "secret" not in shown
    assert "//***@proxy" in shown
    text = "<urllib3.connection.HTTPConnection object at 0x7f3a>: Failed to establish a new connection"
    assert "0x7f3a" not in str(as_portal_error(urllib3.exceptions.HTTPError(text), TARGET, CallContext()))


# real sockets


class Peer:
    """A server that passes each connection to `serve`."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            with sock:
                try:
                    sock.settimeout(WAIT)
                    self._serve(sock)
                except OSError:
                    continue

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(WAIT)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def read_request(sock: socket.socket) -> None:
    """Read all of it: closing a socket with unread bytes resets the connection, which loses the response."""
    data = b""
    while not data.endswith(b"\r\n\r\n{}"):
        piece = sock.recv(65536)
        if not piece:
            return
        data += piece


def tls(authority: trustme.CA, then: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)

    def serve(sock: socket.socket) -> None:
        with server.wrap_socket(sock, server_side=True) as secure:
            then(secure)

    return serve


def outcome(url: str, context: ssl.SSLContext | None = None, timeout: float = WAIT) -> PortalError:
    """Return the error of a POST with urllib3. It must be the same with `as_os_error`, as the client maps it."""
    with urllib3.PoolManager(retries=False, ssl_context=context) as pool:
        try:
            pool.request("POST", url, body=b"{}", timeout=timeout, retries=False)
        except Exception as error:
            direct = as_portal_error(error, Address.parse(url), CallContext())
            mapped = as_os_error(error)
            mapped.__cause__ = None if mapped is error else error
            made = as_portal_error(mapped, Address.parse(url), CallContext())
            assert type(made) is type(direct)
            assert getattr(made, "may_have_executed", None) == getattr(direct, "may_have_executed", None)
            return made
    raise AssertionError("it should have failed")


def by_requests(url: str, **options: Any) -> PortalError:
    try:
        requests.post(url, data=b"{}", timeout=WAIT, **options)
    except requests.RequestException as error:
        return as_portal_error(error, Address.parse(url), CallContext())
    raise AssertionError("it should have failed")


def sent(error: PortalError) -> bool:
    assert isinstance(error, TransportError), repr(error)
    return error.may_have_executed


def test_no_server_listens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/x"
        error = outcome(url)
        assert not sent(error)
        assert error.retryable
        assert "refused" in str(error)
        assert not sent(by_requests(url))
        assert not sent(by_requests("http://peer.example/x", proxies={"http": url}))


def test_a_certificate_that_is_not_trusted(authority: trustme.CA) -> None:
    peer = Peer(tls(authority, read_request))
    url = f"https://127.0.0.1:{peer.port}/x"
    for error in (outcome(url, ssl.create_default_context()), by_requests(url)):
        assert not sent(error)
        assert not error.retryable  # the server would send the same certificate
        assert "pass the authority that signed it in ClientTLS(ca=...)" in str(error)
    peer.close()


def test_a_server_without_tls_or_that_ends_the_handshake(trusting: ssl.SSLContext) -> None:
    def plain(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def hang_up(sock: socket.socket) -> None:
        sock.recv(65536)

    for serve in (plain, hang_up):
        peer = Peer(serve)
        assert not sent(outcome(f"https://127.0.0.1:{peer.port}/x", trusting))
        peer.close()


def test_a_handshake_that_takes_too_long(trusting: ssl.SSLContext) -> None:
    done = threading.Event()
    peer = Peer(lambda sock: [done.wait(WAIT)].clear())
    assert not sent(outcome(f"https://127.0.0.1:{peer.port}/x", trusting, timeout=0.2))
    done.set()
    peer.close()


def test_a_server_that_fails_after_it_has_read_the_request(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    def break_tls(sock: socket.socket) -> None:
        read_request(sock)
        assert isinstance(sock, ssl.SSLSocket)
        with socket.socket(fileno=sock.detach()) as bare_socket:
            bare_socket.sendall(b"not a TLS record")  # an SSLError of the client after the handshake

    def cut(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")

    def close(sock: socket.socket) -> None:
        read_request(sock)

    for serve, scheme in ((tls(authority, break_tls), "https"), (cut, "http"), (close, "http")):
        peer = Peer(serve)
        error = outcome(f"{scheme}://127.0.0.1:{peer.port}/x", trusting)
        assert sent(error)
        assert ("[SSL" in str(error)) is (scheme == "https")
        assert "the call may have been executed" in str(error)
        peer.close()


def test_a_second_attempt_does_not_hide_that_the_first_may_have_been_executed() -> None:
    """The client sends an idempotent call again on a new connection, and no server listens there any more."""

    @function(idempotent=True)
    def ready() -> bool:
        return True

    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/ready"
    schema = json.dumps(ready.schema.to_dict()).encode()

    def serve() -> None:
        with listening.accept()[0] as sock:
            sock.recv(65536)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(schema), schema))
            read_request(sock)  # it might execute the call now
            listening.close()

    thread = threading.Thread(target=serve)
    thread.start()
    with Consumer() as consumer, pytest.raises(TransportError) as caught:
        consumer.call_at(url, timeout=WAIT)
    thread.join(WAIT)
    assert caught.value.may_have_executed is True
    assert "an earlier attempt may have been executed" in str(caught.value)


def test_a_server_that_does_not_respond_or_does_not_use_http() -> None:
    done = threading.Event()

    def silent(sock: socket.socket) -> None:
        read_request(sock)
        done.wait(WAIT)

    def nonsense(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"220 mail.example ESMTP\r\n\r\n")

    peer = Peer(silent)
    assert isinstance(outcome(f"http://127.0.0.1:{peer.port}/x", timeout=0.2), errors.CallTimeout)
    done.set()
    peer.close()
    peer = Peer(nonsense)
    assert isinstance(outcome(f"http://127.0.0.1:{peer.port}/x"), errors.ProtocolError)
    peer.close()


def test_a_response_that_is_not_json() -> None:
    response = requests.Response()
    response._content = b"<html>"
    with pytest.raises(requests.JSONDecodeError) as caught:
        response.json()
    assert isinstance(as_portal_error(caught.value, TARGET, CallContext()), errors.ProtocolError)
    with pytest.raises(json.JSONDecodeError) as plain:
        json.loads("<html>")
    assert failure_of(plain.value) is Failure.MALFORMED


def test_the_locals_of_a_frame_that_still_runs_are_left() -> None:
    source = """
def handle(clear):
    kept = ["here"]
    try:
        raise OSError("followed")
    except OSError:
        try:
            raise ValueError("of the call")
        except ValueError as error:
            clear(error)
    return kept
"""
    library: dict[str, Any] = {"__name__": "urllib3.adapter"}
    exec(source, library)
    assert library["handle"](clear_locals) == ["here"]
