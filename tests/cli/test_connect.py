"""The options of commands that call a server: --token, --tls-ca, --socket."""

from __future__ import annotations

import json

import pytest
import trustme

from portal import BearerAuth, CallContext, Certificate, HTTPPortal, Idempotency, ServingConfig, TLSConfig
from portal.cli import errors as errors_module
from tests.support.command import run


@pytest.fixture
def protected(tmp_path):
    """Serve over TLS with one token; yield the address and the file of the certificate authority."""
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


def test_each_command_has_token_and_tls_ca_options(protected, monkeypatch):
    address, ca = protected
    monkeypatch.setenv("MINE", "t0ken")
    reach = ("--token", "$MINE", "--tls-ca", ca)
    assert run("call", address, "text=a", *reach).output == "1\n"
    assert run("call", address, "text=a", *reach, "--idempotency-key", "k").output == "2\n"
    assert run("call", address, "text=a", *reach, "--idempotency-key", "k").output == "2\n"
    assert run("describe", address, *reach).output.startswith("note  version 1")
    assert run("list", address.partition("/api")[0], *reach).output == f"{address}\n"


def test_the_token_may_be_in_the_environment(protected, monkeypatch):
    address, ca = protected
    monkeypatch.setenv("PORTAL_TOKEN", "t0ken")
    assert run("call", address, "text=a", "--tls-ca", ca).exit_code == 0
    assert run("call", address, "text=a", "--tls-ca", ca, "--token", "wrong").exit_code == errors_module.UNAUTHORIZED
    monkeypatch.setenv("PORTAL_TOKEN", "wrong")
    assert run("call", address, "text=a", "--tls-ca", ca).exit_code == errors_module.UNAUTHORIZED


def test_messages_name_the_missing_option(protected):
    address, ca = protected
    untrusted = run("call", address, "text=a", "--token", "t0ken")
    assert untrusted.exit_code == errors_module.UNREACHABLE
    assert "; name its certificate authority with --tls-ca\n" in untrusted.output
    anonymous = run("call", address, "text=a", "--tls-ca", ca)
    assert anonymous.exit_code == errors_module.UNAUTHORIZED
    assert "error: AuthenticationError: " in anonymous.output
    assert "; pass a token with --token, or in PORTAL_TOKEN\n" in anonymous.output
    assert "; pass a token with --token, or in PORTAL_TOKEN\n" in run("describe", address, "--tls-ca", ca).output
    listed = run("list", address.partition("/api")[0], "--json", "--tls-ca", ca)
    assert json.loads(listed.stderr)["hint"] == "pass a token with --token, or in PORTAL_TOKEN"
    wrong = run("call", address, "text=a", "--tls-ca", ca + "x", "--token", "t0ken")
    assert wrong.exit_code == errors_module.MISUSED
    assert "tls.ca must be" in wrong.output
    unset = run("call", address, "text=a", "--token", "$NOT_THERE_AT_ALL")
    assert unset.exit_code == errors_module.MISUSED
    assert "the environment variable NOT_THERE_AT_ALL is not set" in unset.output


@pytest.mark.parametrize("command", ["call", "describe", "list"])
def test_the_hint_for_an_unknown_scheme_is_for_the_command(command):
    result = run(command, "nothing://here/add")
    assert result.exit_code == errors_module.NOT_FOUND
    hint = "the command calls http://, https://, ws:// and wss:// addresses, and schemes of packages"
    assert f"; {hint}\n" in result.stderr


@pytest.mark.parametrize(
    ("address", "code", "message"),
    [
        ("http://localhost/api/add", 5, "error: TransportError: "),
        ("https://localhost/api/add", 2, "--socket needs an http:// address"),
        ("local://add", 2, "--socket needs an http:// address"),
        ("nonsense", 3, "error: AddressError: "),
    ],
)
@pytest.mark.parametrize("command", ["call", "describe", "list"])
def test_a_socket_without_a_server(command, address, code, message, tmp_path):
    result = run(command, address, "--socket", str(tmp_path / "nobody"))
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
