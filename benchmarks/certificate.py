"""A certificate for 127.0.0.1 that servers and clients of one comparison share."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["VARIABLE", "CertificateFiles", "certificate_files"]

#: Environment variable with the folder of the files; processes that a comparison starts inherit it.
VARIABLE = "PORTAL_BENCHMARK_CERTIFICATE"


class CertificateFiles:
    """The PEM files of a certificate. Args: their folder."""

    def __init__(self, folder: Path) -> None:
        self.authority = folder / "authority.pem"
        self.chain = folder / "chain.pem"
        self.key = folder / "key.pem"
        self.pkcs8_key = folder / "pkcs8.pem"  # the form that granian reads


@cache
def certificate_files() -> CertificateFiles:
    """Return the files, and make them in the first process that asks for them."""
    if VARIABLE not in os.environ:
        import trustme

        folder = tempfile.mkdtemp(prefix="portal-benchmark-")
        files = CertificateFiles(Path(folder))
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        authority.cert_pem.write_to_path(str(files.authority))
        issued.private_key_pem.write_to_path(str(files.key))
        files.pkcs8_key.write_bytes(_as_pkcs8(issued.private_key_pem.bytes()))
        files.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        os.environ[VARIABLE] = folder
    return CertificateFiles(Path(os.environ[VARIABLE]))


def _as_pkcs8(pem: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_pem_private_key(pem, None)
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
