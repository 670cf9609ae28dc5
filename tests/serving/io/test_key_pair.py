from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from portal import ConfigError
from portal.serving.io.key_pair import load_key_pair


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate, its key, the key of another one, and a text."""
    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    issued, other = authority.issue_cert("a.example"), authority.issue_cert("b.example")
    issued.cert_chain_pems[0].write_to_path(str(folder / "chain.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    other.private_key_pem.write_to_path(str(folder / "other.pem"))
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    (folder / "text.pem").write_text("hello")
    return folder


@pytest.mark.parametrize(
    ("chain", "key", "reason"),
    [
        ("chain.pem", None, "{}/chain.pem has no private key; name the file that has it"),
        ("chain.pem", "text.pem", "{}/text.pem has no private key; name the file that has it"),
        ("chain.pem", "other.pem", "the private key in {}/other.pem is that of another certificate"),
        ("key.pem", "key.pem", "{}/key.pem has no certificate"),
        ("chain.pem", "absent.pem", "[Errno 2] No such file or directory: '{}/absent.pem'"),
        ("absent.pem", None, "[Errno 2] No such file or directory: '{}/absent.pem'"),
    ],
)
def test_the_error_says_which_file_is_wrong(folder: Path, chain: str, key: str | None, reason: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(ConfigError) as caught:
        load_key_pair(context, "tls.certificate", folder / chain, None if key is None else folder / key, None)
    assert f"({reason.format(folder)})" in str(caught.value)
    assert caught.value.path == "tls.certificate"


def test_files_that_fit_are_loaded(folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_key_pair(context, "tls.certificate", folder / "chain.pem", folder / "key.pem", None)
    load_key_pair(context, "tls.certificate", folder / "both.pem", None, None)
