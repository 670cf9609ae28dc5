"""The options of commands that ask a server: --token, --tls-ca, --socket."""

from __future__ import annotations

import json

import pytest
import trustme

from portal import BearerAuth, CallContext, Certificate, HTTPPortal, Idempotency, ServingConfig, TLSConfig
from portal.cli import errors as errors_module
from tests.support.command import run


@pytest.fixture
def protected(tmp_path):
    """A server over TLS that lets in one token; its address, and the file of its authority."""
    authority = trustme.CA()
    chain, ca = tmp_path / "server.pem", tmp_path / "ca.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(chain))
    authority.cert_pem.write_to_path(str(ca))
    seen = []

    def note(text: str, context: CallContext) -> int:
        seen.append(text)
        return len(seen)

    tls = TLSConfig(Certificate(chain))
    auth = BearerAuth({"t0ken": "ann"})
    with HTTPPortal(auth=auth, middleware=[Idempotency()], config=ServingConfig(tls=tls)) as http:
        yield str(http.apply(note)), str(ca)


def test_each_command_takes_a_token_and_authorities(protected, monkeypatch):
    address, ca = protected
    monkeypatch.setenv("MINE", "t0ken")
    reach = ("--token", "$MINE", "--tls-ca", ca)
    assert run("call", address, "text=a", *reach).output == "1\n"
    assert run("call", address, "text=a", *reach, "--idempotency-key", "k").output == "2\n"
    assert run("call", address, "text=a", *reach, "--idempotency-key", "k").output == "2\n"
    assert run("describe", address, *reach).output.startswith("note  version 1")
    assert run("list", address.partition("/api")[0], *reach).output == f"{address}\n"


def test_messages_name_the_missing_option(protected):
    address, ca = protected
    untrusted = run("call", address, "text=a", "--token", "t0ken")
    assert untrusted.exit_code == errors_module.UNREACHABLE
    assert "its certificate is of no authority that is trusted here; --tls-ca says whom to trust" in untrusted.output
    nobody = run("call", address, "text=a", "--tls-ca", ca)
    assert nobody.exit_code == errors_module.FAILED
    assert "AuthenticationError: a credential is needed; none was sent: pass it with --token\n" in nobody.output
    assert "none was sent: pass it with --token" in run("describe", address, "--tls-ca", ca).output
    listed = run("list", address.partition("/api")[0], "--json", "--tls-ca", ca)
    assert json.loads(listed.stderr)["hint"] == "none was sent: pass it with --token"
    wrong = run("call", address, "text=a", "--tls-ca", ca + "x", "--token", "t0ken")
    assert wrong.exit_code == errors_module.MISUSED
    assert "tls.ca must be" in wrong.output
    unset = run("call", address, "text=a", "--token", "$NOT_THERE_AT_ALL")
    assert unset.exit_code == errors_module.MISUSED
    assert "the environment variable NOT_THERE_AT_ALL is not set" in unset.output


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("http://localhost/api/add", 5, "error: TransportError: "),
        ("https://localhost/api/add", 2, "--socket needs an http:// address"),
        ("local://add", 2, "--socket needs an http:// address"),
        ("nonsense", 3, "error: AddressError: "),
    ],
)
@pytest.mark.parametrize("command", ["call", "describe", "list"])
def test_a_socket_where_nothing_listens(command, address, code, said, tmp_path):
    result = run(command, address, "--socket", str(tmp_path / "nobody"))
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
