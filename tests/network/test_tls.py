from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from portal import ConfigError
from portal.http import ClientTLS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """PEM files of an authority, a certificate, its key, and another key."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    found = {name: folder / f"{name}.pem" for name in ("ca", "certificate", "key", "other")}
    issued = authority.issue_cert("client.example")
    authority.cert_pem.write_to_path(str(found["ca"]))
    issued.cert_chain_pems[0].write_to_path(str(found["certificate"]))
    issued.private_key_pem.write_to_path(str(found["key"]))
    authority.issue_cert("other.example").private_key_pem.write_to_path(str(found["other"]))
    return found


def test_the_context_verifies_the_server_and_requires_tls_1_2(files: dict[str, Path]) -> None:
    for tls in (ClientTLS(), ClientTLS(ca=files["ca"], certificate=files["certificate"], key=files["key"])):
        context = tls.context()
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"ca": "absent.pem"}, "tls.ca"),
        ({"ca": 3}, "tls.ca"),
        ({"certificate": "absent.pem"}, "tls.certificate"),
        ({"key": "absent.pem"}, "tls.certificate"),
    ],
)
def test_a_file_that_cannot_be_used_is_rejected_at_once(settings: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClientTLS(**settings)
    assert caught.value.path == path


def test_a_key_of_another_certificate_is_rejected(files: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="a PEM certificate and its private key"):
        ClientTLS(certificate=files["certificate"], key=files["other"])


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(ClientTLS(password="secret"))
