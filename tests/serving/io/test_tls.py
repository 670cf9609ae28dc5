"""TLS on a real socket: certificates, names, clients' certificates, versions, reloading."""

from __future__ import annotations

import shutil
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from portal import (
    AuthorizationError,
    CallContext,
    CertificateAuth,
    ConfigError,
    Consumer,
    HTTPPortal,
    Identity,
    ProtocolError,
    RequireScopes,
    ResponseCache,
    TransportError,
    function,
)
from portal.http import ClientTLS, HTTPClient
from portal.serving import Certificate, ServingConfig, TLSConfig
from portal.serving.io.stream import TLSStream
from tests.support.broken_tls import break_a_connection

BODY = b'{"a":1,"b":2}'
POST = b"POST /api/add HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(BODY)


def add(a: float, b: float) -> float:
    return a + b


def blob(size: int) -> str:
    return "x" * size


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


class Files:
    """Certificates of two authorities, as PEM files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.server = self.issue("server", "localhost", "127.0.0.1")

    def issue(self, name: str, *identities: str, authority: trustme.CA | None = None, **more: Any) -> Certificate:
        issued = (authority or self.authority).issue_cert(*identities, **more)
        chain, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return Certificate(chain, key)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("certificates"))


def serving(tls: TLSConfig, **changes: Any) -> HTTPPortal:
    return HTTPPortal(config=ServingConfig(tls=tls, **changes))


def client(files: Files, certificate: Certificate | None = None) -> HTTPPortal:
    own = {} if certificate is None else {"certificate": certificate.chain, "key": certificate.key}
    return HTTPPortal(http=HTTPClient(tls=ClientTLS(ca=files.ca, **own)))


def shake(files: Files, portal: HTTPPortal, name: str = "localhost", **settings: Any) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(files.ca))
    for key, value in settings.items():
        setattr(context, key, value)
    raw = socket.create_connection(("127.0.0.1", portal.port), timeout=10)
    try:
        return context.wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise


def test_calls_streams_and_large_responses(files: Files) -> None:
    with serving(TLSConfig(files.server)) as portal, client(files) as caller, Consumer([caller]) as consumer:
        address = portal.apply(add)
        assert str(address).startswith("https://127.0.0.1:")
        assert [consumer.call_at(address, {"a": number, "b": 1}) for number in range(20)] == [*range(1, 21)]
        assert len(consumer.call_at(portal.apply(blob), {"size": 3_000_000})) == 3_000_000
        assert list(consumer.stream_at(portal.apply(numbers), {"count": 5})) == [0, 1, 2, 3, 4]
        stats = portal.stats()["listener"]
        assert stats["accepted"] < 5  # connections are kept
        assert stats["requests"] >= 22


def test_requests_in_one_tls_record_all_get_responses(files: Files) -> None:
    """The requests are pipelined in one TLS record. The poller reports no event for the second one."""
    with serving(TLSConfig(files.server)) as portal:
        portal.apply(add)
        with shake(files, portal) as sock:
            sock.sendall((POST + BODY) * 3)
            received = b""
            while received.count(b"HTTP/1.1 200") < 3:
                piece = sock.recv(65536)
                assert piece
                received += piece
            for half in (POST[:30], POST[30:] + BODY[:5], BODY[5:]):
                sock.sendall(half)
            assert b"200 OK" in sock.recv(65536)


def test_a_client_rejects_a_server_that_it_does_not_trust(files: Files, tmp_path: Path) -> None:
    stranger = Files(tmp_path)
    with serving(TLSConfig(stranger.server)) as portal, client(files) as caller, Consumer([caller]) as consumer:
        address = portal.apply(add)
        with pytest.raises(TransportError) as caught:
            consumer.call_at(address, {"a": 1, "b": 2}, timeout=5)
        assert caught.value.may_have_executed is False
        assert "certificate" in str(caught.value).lower()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("size", [0, 100_000])
def test_plain_http_on_a_tls_port_gets_an_explanation(files: Files, method: str, size: int) -> None:
    with serving(TLSConfig(files.server)) as portal:
        portal.apply(add)
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", portal.port), timeout=10) as sock:
                head = f"{method} /api/add HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
                sock.sendall(head.encode() + b"x" * size)
                answer = b"".join(iter(lambda: sock.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"https" in answer
            assert b"Connection: close" in answer
        with client(files) as caller, Consumer([caller]) as consumer:
            with pytest.raises(ProtocolError, match="https") as caught:
                consumer.call_at(f"http://localhost:{portal.port}/api/add", {"a": 1, "b": 2}, timeout=5)
            assert caught.value.status == 400
            assert consumer.call_at(f"https://localhost:{portal.port}/api/add", {"a": 1, "b": 2}, timeout=5) == 3.0


def whoami(context: CallContext) -> list[str]:
    return [context.identity.name] if context.identity is not None else []


@pytest.mark.parametrize(("clients", "given", "answer"), [("optional", False, None), ("required", True, "ann")])
def test_the_client_s_certificate_is_its_identity(files: Files, clients: Any, given: bool, answer: str | None) -> None:
    own = files.issue("ann", "ann.example", common_name="ann")
    seen: list[Identity | None] = []

    class Probe:
        def handle(self, request: Any) -> Any:
            from portal.serving import Response

            seen.append(request.tls_identity)
            return Response(200, [], b"ok" if request.secure else b"plain")

    tls = TLSConfig(files.server, client_ca=files.ca, clients=clients)
    with serving(tls) as portal:
        portal.listener.mount("/probe", Probe())
        context = ssl.create_default_context(cafile=str(files.ca))
        if given:
            assert own.key is not None
            context.load_cert_chain(own.chain, own.key)
        raw = socket.create_connection(("127.0.0.1", portal.port), timeout=10)
        with context.wrap_socket(raw, server_hostname="localhost") as sock:
            sock.sendall(b"GET /probe HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(4096).endswith(b"ok")
    assert [identity.name if identity else None for identity in seen] == [answer]
    if seen[0] is not None:
        assert len(seen[0].claims["fingerprint"]) == 64
        assert seen[0].claims["alternative_names"] == ["DNS:ann.example"]


def test_a_client_without_a_required_certificate_is_rejected(files: Files, tmp_path: Path) -> None:
    other = Files(tmp_path)
    tls = TLSConfig(files.server, client_ca=files.ca, clients="required")
    with serving(tls) as portal:
        address = portal.apply(add)
        for certificate in (None, other.issue("eve", "eve.example")):
            with client(files, certificate) as caller, pytest.raises(TransportError) as caught:
                Consumer([caller]).call_at(address, {"a": 1, "b": 2}, timeout=5)
            assert caught.value.may_have_executed is False
            assert "ClientTLS(certificate=" in str(caught.value)
        assert portal.stats()["calls"] == 0
        with client(files, files.issue("ann", "ann.example")) as caller, Consumer([caller]) as consumer:
            assert consumer.call_at(address, {"a": 1, "b": 2}, timeout=5) == 3.0


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("a.example", "a.example"),
        ("x.b.example", "*.b.example"),
        ("A.Example", "a.example"),
        ("localhost", "localhost"),
    ],
)
def test_the_certificate_depends_on_the_host_name(files: Files, asked: str, shown: str) -> None:
    hosts = {"a.example": files.issue("a", "a.example"), "*.b.example": files.issue("b", "*.b.example")}
    with serving(TLSConfig(files.server, hosts=hosts)) as portal, shake(files, portal, asked) as sock:
        certificate = sock.getpeercert()
        assert certificate is not None
        assert ("DNS", shown) in certificate["subjectAltName"]


def test_versions_and_ciphers(files: Files) -> None:
    with serving(TLSConfig(files.server, minimum_version="TLSv1.3")) as portal:
        with shake(files, portal) as sock:
            assert sock.version() == "TLSv1.3"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shake(files, portal, maximum_version=ssl.TLSVersion.TLSv1_2)
    with (
        serving(TLSConfig(files.server, ciphers="ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384")) as portal,
        shake(files, portal, maximum_version=ssl.TLSVersion.TLSv1_2) as sock,
    ):
        cipher = sock.cipher()
        assert cipher is not None
        assert cipher[0].endswith("AES256-GCM-SHA384")


def test_a_reset_connection_does_not_break_others(files: Files) -> None:
    with serving(TLSConfig(files.server)) as portal:
        portal.apply(add)
        with shake(files, portal) as kept:
            broken = shake(files, portal)
            for sock in (broken, kept):
                sock.sendall(POST + BODY)
                assert b"200 OK" in sock.recv(4096)
            broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            broken.close()
            for _ in range(3):
                kept.sendall(POST + BODY)
                assert b"200 OK" in kept.recv(4096)


def test_a_broken_tls_connection_of_a_function_does_not_break_others(files: Files) -> None:
    call = b"POST /api/break_a_connection HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    with serving(TLSConfig(files.server)) as portal:
        portal.apply(break_a_connection)
        with shake(files, portal) as sock:
            for _ in range(8):  # in the listener's thread or in a worker, as it comes
                sock.sendall(call)
                assert b"200 OK" in sock.recv(4096)


def test_a_broken_tls_connection_of_a_caller_does_not_break_its_calls(files: Files) -> None:
    with serving(TLSConfig(files.server)) as portal, client(files) as caller, Consumer([caller]) as consumer:
        address, stream = portal.apply(add), portal.apply(numbers)
        for number in range(3):
            assert consumer.call_at(address, {"a": number, "b": 1}) == number + 1
            break_a_connection()
        events = consumer.stream_at(stream, {"count": 3})
        for number in range(3):
            break_a_connection()
            assert next(events) == number
        assert list(events) == []


def test_certificates_are_reloaded_without_a_restart(files: Files, tmp_path: Path) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    first, second = (
        files.issue("first", "localhost", "first.example"),
        files.issue("second", "localhost", "second.example"),
    )
    shutil.copy(first.chain, chain)
    assert first.key is not None
    assert second.key is not None
    shutil.copy(first.key, key)

    def names(sock: ssl.SSLSocket) -> set[str]:
        certificate = sock.getpeercert()
        assert certificate is not None
        return {str(value) for _, value in certificate["subjectAltName"]}

    with serving(TLSConfig(Certificate(chain, key))) as portal:
        portal.apply(add)
        with shake(files, portal) as old:
            assert "first.example" in names(old)
            shutil.copy(second.chain, chain)
            with pytest.raises(ConfigError) as caught:
                portal.listener.reload_certificates()  # the key does not fit yet
            assert caught.value.path == "tls.certificate"
            with shake(files, portal) as between:
                assert "first.example" in names(between)
            shutil.copy(second.key, key)
            portal.listener.reload_certificates()
            with shake(files, portal) as new:
                assert "second.example" in names(new)
            old.sendall(POST + BODY)  # a connection that is open keeps what it has
            assert b"200 OK" in old.recv(4096)


def test_an_incomplete_handshake_times_out_and_delays_no_other_client(files: Files) -> None:
    with serving(TLSConfig(files.server), head_timeout=0.3, workers=1, queue=4) as portal:
        portal.apply(add)
        slow = [socket.create_connection(("127.0.0.1", portal.port), timeout=10) for _ in range(20)]
        for sock in slow:
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")
        with shake(files, portal) as good:
            good.sendall(POST + BODY)
            assert b"200 OK" in good.recv(4096)
        for sock in slow:
            assert sock.recv(100) == b""
            sock.close()


def test_bytes_that_are_not_a_handshake_close_the_connection(files: Files) -> None:
    with serving(TLSConfig(files.server)) as portal:
        for data in (b"\0" * 50, b"SSH-2.0-x\r\n", b"\x15\x03\x01\x00\x02\x02\x28"):
            with socket.create_connection(("127.0.0.1", portal.port), timeout=10) as sock:
                sock.sendall(data)
                answer = b""
                try:
                    while piece := sock.recv(4096):
                        answer += piece
                except ConnectionResetError:
                    answer += b""
                assert b"HTTP/1.1" not in answer


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"certificate": Certificate("nowhere.pem")}, "tls.certificate"),
        ({"minimum_version": "TLSv1.0"}, "tls.minimum_version"),
        ({"clients": "maybe"}, "tls.clients"),
        ({"clients": "required"}, "tls.client_ca"),
        ({"clients": "required", "client_ca": "nowhere.pem"}, "tls.client_ca"),
        ({"ciphers": "no such cipher"}, "tls.ciphers"),
        ({"hosts": {"a.example": "a.pem"}}, "tls.hosts.a.example"),
        ({"hosts": {"a.example": Certificate("nowhere.pem")}}, "tls.hosts.a.example"),
    ],
)
def test_errors_name_the_invalid_setting(files: Files, changes: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        serving(TLSConfig(**({"certificate": files.server} | changes))).start()
    assert caught.value.path == path
    assert caught.value.expected


def test_passwords_of_keys(files: Files, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    assert files.server.key is not None
    key = serialization.load_pem_private_key(Path(files.server.key).read_bytes(), None)
    closed = tmp_path / "closed.key"
    closed.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    for password in (None, "wrong"):
        with pytest.raises(ConfigError):
            serving(TLSConfig(Certificate(files.server.chain, closed, password))).start()
    certificate = Certificate(files.server.chain, closed, "sesame")
    assert "sesame" not in repr(certificate)
    with serving(TLSConfig(certificate)) as portal, shake(files, portal) as sock:
        assert sock.version()


def test_errors_name_the_invalid_files_of_a_client(files: Files) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"ca": "nowhere.pem"}, "tls.ca"),
        ({"ca": files.server.key}, "tls.ca"),
        ({"ca": 3}, "tls.ca"),
        ({"certificate": "nowhere.pem"}, "tls.certificate"),
        ({"ca": files.ca, "certificate": files.server.chain, "key": "nowhere.pem"}, "tls.certificate"),
        ({"certificate": 3.5}, "tls.certificate"),
        ({"key": files.server.key}, "tls.certificate"),
    ]
    for settings, path in wrong:
        with pytest.raises(ConfigError) as caught:
            ClientTLS(**settings)
        assert caught.value.path == path


def test_a_client_reads_its_files_when_it_connects(files: Files, tmp_path: Path) -> None:
    """The files may be renewed meanwhile, as a Consumer lives for a long time."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Path(files.ca).read_bytes())
    tls = ClientTLS(ca=ca)
    ca.unlink()
    with pytest.raises(ConfigError):
        tls.context()


def test_a_write_during_an_abort_stays_encrypted(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.server.chain, files.server.key)
    ours, theirs = socket.socketpair()
    stream = TLSStream(ours, 0.1, lambda sock: context.wrap_socket(sock, True, do_handshake_on_connect=False))
    theirs.setblocking(False)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cafile=str(files.ca)).wrap_bio(incoming, outgoing, server_hostname="localhost")
    shaken = False
    while not shaken:
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        theirs.send(outgoing.read())
        shaken = stream.do_handshake()
        with suppress(BlockingIOError):
            incoming.write(theirs.recv(65536))
    shut_down = socket.socket.shutdown

    def with_a_writer(sock: socket.socket, how: int) -> None:
        stream.send_some(b"for the client's eyes only")  # as a worker does while the responder at the deadline aborts
        shut_down(sock, how)

    with theirs:
        monkeypatch.setattr(socket.socket, "shutdown", with_a_writer)
        stream.abort()
        monkeypatch.undo()
        received = b""
        while piece := theirs.recv(65536):
            received += piece
        stream.close()
    assert received
    assert b"eyes only" not in received


def test_a_shared_cache_keeps_the_responses_of_certificates_apart(files: Files) -> None:
    scopes = {"ann": frozenset({"orders"})}
    auth = CertificateAuth(lambda known: Identity(known.name, scopes.get(known.name, frozenset())))
    tls = TLSConfig(files.server, client_ca=files.ca, clients="required")
    cache = ResponseCache()

    def call_as(name: str) -> Any:
        own = files.issue(name, common_name=name)
        trusted = ClientTLS(ca=files.ca, certificate=own.chain, key=own.key)
        with HTTPPortal(http=HTTPClient(tls=trusted, cache=cache)) as caller, Consumer([caller]) as consumer:
            return consumer.call_at(address, {"a": 1, "b": 2})

    settings = ServingConfig(tls=tls)
    with HTTPPortal(config=settings, auth=auth, middleware=[RequireScopes("orders")], max_age=60) as portal:
        address = portal.apply(function(cacheable=True)(add))
        assert call_as("ann") == call_as("ann") == 3.0
        assert cache.stats()["fresh"] == 1
        with pytest.raises(AuthorizationError):
            call_as("eve")
