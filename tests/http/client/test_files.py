from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
import requests
import trustme

from portal import (
    CallContext,
    Certificate,
    Consumer,
    HTTPPortal,
    ProtocolError,
    ServingConfig,
    TLSConfig,
    TransportError,
)
from portal.http import ClientTLS, HTTPClient
from portal.http.client.files import encode_files, is_file, receive_file
from portal.http.messages.multipart import MultipartBody
from portal.schema import File
from portal.schema.codecs.files import FileTable, files_of_call
from portal.schema.transfer import Transfer
from tests.support.scripted_transport import ScriptedResponse, request_of

TRANSFER = Transfer(files=(("photo", "file"),))


def test_only_files_of_this_call_make_a_form() -> None:
    params = {"photo": {"data": "YWI="}, "n": 1}
    assert encode_files(TRANSFER, params)[0] == b'{"photo":{"data":"YWI="},"n":1}'
    with files_of_call(FileTable()) as table:
        token = table.add(File(b"ab", name="a.png"))
        body, headers = encode_files(TRANSFER, {"photo": {"data": token}, "n": 1})
    assert isinstance(body, MultipartBody)
    assert headers == {"Content-Type": body.content_type}
    assert b"ab" in b"".join(body)
    assert token.encode() not in b"".join(body)


def test_a_file_is_a_token_or_base64() -> None:
    request = request_of()
    headers = {"content-disposition": 'attachment; filename="a.png"', "content-type": "image/png"}
    sizes = {"max_file_size": 4, "max_size": 2}
    assert is_file(ScriptedResponse(200, headers))
    assert not is_file(ScriptedResponse(200, {}))
    found = receive_file(ScriptedResponse(200, headers, b"a", b"b"), request, "file", **sizes)
    assert found == {"data": b64encode(b"ab").decode(), "type": "image/png", "name": "a.png"}
    with pytest.raises(ProtocolError, match="at most 2 bytes"):
        receive_file(ScriptedResponse(200, headers, b"abc"), request, "bytes", **sizes)
    with files_of_call(FileTable(request.context)) as table:
        token = receive_file(ScriptedResponse(200, headers, b"abc"), request, "bytes", **sizes)
        file = table.find(token)
        assert file is not None
        assert (file.read(), file.name) == (b"abc", "a.png")
        with pytest.raises(ProtocolError, match="at most 4 bytes"):
            receive_file(ScriptedResponse(200, headers, b"abcde"), request, "bytes", **sizes)
    with files_of_call(FileTable(CallContext())):
        assert receive_file(ScriptedResponse(200, headers, b"ab"), request, "bytes", **sizes) == "YWI="


def echo(file: File) -> File:
    return file


def test_files_over_tls(tmp_path: Path) -> None:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    made.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    config = ServingConfig(tls=TLSConfig(Certificate(tmp_path / "server.pem")))
    client = HTTPClient(tls=ClientTLS(ca=tmp_path / "ca.pem"))
    with HTTPPortal(config=config) as http, Consumer(http=client) as consumer:
        sent = File(bytes(200_000), name="a.bin")
        assert consumer.resolve(http.apply(echo), returns=File)(file=sent) == sent


def test_a_response_before_the_end_of_an_upload() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        call = consumer.resolve(http.apply(echo))
        large = File(bytes(8 * 1024 * 1024))
        with pytest.raises((ProtocolError, TransportError)) as caught:
            call(file=large)
    assert "max_body" in str(caught.value) or isinstance(caught.value, TransportError)


def test_files_through_a_session() -> None:
    with HTTPPortal() as http, Consumer(http=HTTPClient(session=requests.Session())) as consumer:
        sent = File(bytes(200_000), name="a.bin")
        assert consumer.resolve(http.apply(echo), returns=File)(file=sent) == sent
