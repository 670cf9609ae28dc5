"""KeySet fetches the keys of an issuer and caches them."""

from __future__ import annotations

import io
import logging
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from wsgiref.util import setup_testing_defaults

import jwt
import pytest
import requests
import trustme

from portal import HTTPPortal
from portal.auth.authentication import authenticate, authenticators_of
from portal.auth.jwt.authenticator import JWTAuth
from portal.auth.jwt.key_set import KeySet
from portal.context import CallContext
from portal.errors import AuthenticationError, ConfigError, OverloadedError
from portal.serving import ServingConfig
from tests.support.clocks import Clock
from tests.support.tokens import (
    CLAIMS,
    EC256,
    ED,
    RSA_KEY,
    RSA_OTHER,
    RSA_WEAK,
    SECRET,
    WAIT,
    Issuer,
    authorized,
    b64,
    by_issuer,
    jwk,
    pem,
    raw,
    refused,
    signed,
    together,
)


def test_keys_are_fetched_when_they_are_needed(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"), jwk(EC256, "two"), jwk(ED, "three"))
    checked = by_issuer(issuer, clock)
    assert issuer.fetched == 0
    assert checked.identity_of(signed("one")).name == "ann"
    assert checked.identity_of(signed("two", EC256, "ES256")).name == "ann"
    assert checked.identity_of(signed("three", ED, "EdDSA")).name == "ann"
    assert issuer.fetched == 1
    clock.now += 299
    assert checked.identity_of(signed("one")).name == "ann"
    assert issuer.fetched == 1
    clock.now += 1
    assert checked.identity_of(signed("one")).name == "ann"
    assert issuer.fetched == 2


def test_a_rotated_key_replaces_the_old_one(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "old"))
    checked = by_issuer(issuer, clock)
    old, new = signed("old"), signed("new", RSA_OTHER)
    assert checked.identity_of(old).name == "ann"
    clock.now += 10
    issuer.publish(jwk(RSA_OTHER, "new"))
    assert checked.identity_of(new).name == "ann"  # an unknown id has the set fetched at once
    refused(checked, old)  # what was taken out is out
    assert issuer.fetched == 2
    clock.now += 10
    issuer.publish()
    clock.now += 300
    refused(checked, new)


def test_unknown_ids_do_not_hammer_the_issuer(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    checked = by_issuer(issuer, clock)
    for number in range(20):
        refused(checked, signed(f"unknown-{number}"))
    assert issuer.fetched == 1
    clock.now += 10
    for number in range(20):
        refused(checked, signed(f"unknown-{number}"))
    assert issuer.fetched == 2
    assert checked.identity_of(signed("one")).name == "ann"


def test_only_a_usable_key_of_the_set_verifies(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(
        jwk(RSA_KEY, "rsa", alg="RS256"),
        jwk(RSA_KEY, "enc", use="enc"),
        jwk(RSA_KEY, "ops", key_ops=["sign"]),
        jwk(RSA_WEAK, "weak"),
        jwk(EC256, "ec"),
        {"kty": "oct", "k": b64(SECRET), "kid": "oct"},
        {"kty": "RSA", "kid": "half", "n": "AQAB"},
        {"kty": "RSA", "kid": "bad", "n": "!", "e": []},
        {"kty": ["RSA"], "kid": "list"},
        jwk(RSA_KEY, kid=7),  # type: ignore[arg-type]
        jwk(RSA_KEY, "alg", alg=1),
        "no key",
        None,
    )
    checked = by_issuer(issuer, clock)
    assert checked.identity_of(signed("rsa")).name == "ann"
    assert checked.identity_of(signed("ec", EC256, "ES256")).name == "ann"
    assert checked.identity_of(signed(None)).name == "ann"  # the only one for RS256
    refused(checked, signed("rsa", algorithm="PS256"))
    for kid in ("enc", "ops", "half", "bad", "list", "alg", "ec", "oct", ""):
        refused(checked, signed(kid))
    refused(checked, raw({"alg": "HS256", "kid": "oct"}, CLAIMS, SECRET.encode()))
    refused(checked, raw({"alg": "HS256", "kid": "rsa"}, CLAIMS, pem(RSA_KEY)))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        weak = signed("weak", RSA_WEAK)
    refused(checked, weak)


def test_a_token_without_a_key_id_is_rejected_if_several_keys_fit(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"), jwk(RSA_OTHER, "two"))
    refused(by_issuer(issuer, clock), signed(None))


BAD_RESPONSES: dict[str, Callable[[Issuer], None]] = {
    "500": lambda issuer: issuer.say(b'{"keys":[]}', 500),
    "404": lambda issuer: issuer.say(b"no", 404),
    "redirect": lambda issuer: issuer.say(b"", 302, Location="file:///etc/passwd"),
    "redirect to http": lambda issuer: issuer.say(b"", 307, Location=issuer.url + "2"),
    "no JSON": lambda issuer: issuer.say(b"<html>"),
    "a list": lambda issuer: issuer.say(b"[]"),
    "no keys": lambda issuer: issuer.say(b"{}"),
    "keys are an object": lambda issuer: issuer.say(b'{"keys":{}}'),
    "too many keys": lambda issuer: issuer.publish(*[{}] * 101),
    "too long": lambda issuer: issuer.say(b" " * (1024 * 1024 + 1)),
    "cut off": lambda issuer: issuer.say(b'{"keys":[]}', length=50),
    "deep": lambda issuer: issuer.say(b"[" * 100_000),
    "no HTTP": lambda issuer: setattr(issuer, "answer", lambda handler: handler.wfile.write(b"SSH-2.0\r\n\r\n")),
    "silence": lambda issuer: setattr(issuer, "answer", lambda handler: None),
}


@pytest.mark.parametrize("bad", BAD_RESPONSES)
def test_the_last_good_set_stays(bad: str, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    good = signed("one")
    checked = by_issuer(issuer, clock)
    BAD_RESPONSES[bad](issuer)
    with caplog.at_level(logging.WARNING, "portal.auth"), pytest.raises(OverloadedError) as refusal:
        authenticate(authenticators_of(checked), authorized(f"Bearer {good}"))
    assert refusal.value.retry_after == 10
    assert "fetch of the key set failed" in caplog.text
    with pytest.raises(OverloadedError):
        checked.identity_of(good)
    assert issuer.fetched == 1  # not again so soon
    clock.now += 10
    issuer.publish(jwk(RSA_KEY, "one"))
    assert checked.identity_of(good).name == "ann"
    BAD_RESPONSES[bad](issuer)
    clock.now += 301
    assert checked.identity_of(good).name == "ann"
    assert checked.identity_of(good).name == "ann"
    refused(checked, signed("two"))
    assert issuer.fetched == 3
    clock.now += 86_400
    with pytest.raises(OverloadedError):
        checked.identity_of(good)


def test_an_unreachable_issuer_is_an_overload(clock: Clock) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        keys = KeySet(f"http://127.0.0.1:{taken.getsockname()[1]}/", clock=clock)
        with pytest.raises(OverloadedError):
            keys.find("one", "RS256")


def test_many_threads_share_one_fetch(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    issuer.gate.clear()
    checked, good = by_issuer(issuer, clock, jwks_wait=WAIT), signed("one")

    def work(number: int) -> str:
        if number == 15:
            assert issuer.asked.wait(WAIT)
            issuer.gate.set()
        return checked.identity_of(good).name

    assert together(16, work) == ["ann"] * 16
    assert issuer.fetched == 1


def test_known_keys_serve_while_an_unknown_one_is_looked_for(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    checked, good = by_issuer(issuer, clock), signed("one")
    assert checked.identity_of(good).name == "ann"
    clock.now += 10
    issuer.gate.clear()
    issuer.asked.clear()

    def work(number: int) -> str:
        if number == 0:
            return str(refused(checked, signed("other")))
        assert issuer.asked.wait(WAIT)
        name = checked.identity_of(good).name  # before the response is there
        issuer.gate.set()
        return name

    assert together(2, work) == ["the token is not valid", "ann"]
    assert issuer.fetched == 2


def test_the_old_set_serves_while_it_is_renewed(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    checked, good = by_issuer(issuer, clock), signed("one")
    assert checked.identity_of(good).name == "ann"
    clock.now += 300
    issuer.publish(jwk(RSA_OTHER, "two"))
    issuer.gate.clear()
    issuer.asked.clear()

    def work(number: int) -> str:
        if number == 0:
            return str(refused(checked, good))  # this one fetches: the key is no longer there
        assert issuer.asked.wait(WAIT)
        name = checked.identity_of(good).name
        issuer.gate.set()
        return name

    assert together(2, work) == ["the token is not valid", "ann"]
    refused(checked, good)
    assert issuer.fetched == 2


def test_a_wait_for_keys_ends_at_its_timeout(issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    issuer.gate.clear()
    keys = KeySet(issuer.url, timeout=0.05, clock=clock)
    begun = time.monotonic()

    def work(number: int) -> Any:
        return keys.find("one", "RS256")

    assert {type(result) for result in together(4, work)} == {OverloadedError}
    assert time.monotonic() - begun < WAIT / 2


def test_a_follower_gives_up_by_itself(issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    keys = KeySet(issuer.url, timeout=0.05, clock=clock)
    led, landed = threading.Event(), threading.Event()

    def slow() -> None:
        led.set()
        landed.wait(WAIT)

    def work(number: int) -> Any:
        if number == 0:
            return keys._single_flight.run("the key set", CallContext.for_call(WAIT), "the key set", slow)
        assert led.wait(WAIT)
        try:
            return keys.find("one", "RS256")
        finally:
            landed.set()

    assert [type(result) for result in together(2, work)] == [type(None), OverloadedError]
    assert "fetch of the key set timed out" in caplog.text


def overloaded(response: requests.Response) -> bool:
    """Return whether a response is the rejection of a token whose key may be in the key set being fetched."""
    code, wait = response.json().get("code"), response.headers.get("Retry-After")
    return (response.status_code, code, wait) == (503, "overloaded", "1")


def post(url: str, token: str, **body: Any) -> requests.Response:
    return requests.post(url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=WAIT)


@contextmanager
def fetching(issuer: Issuer, ask: Callable[[], object]) -> Iterator[None]:
    """Hold back the response of the issuer while the body runs; `ask` causes the fetch."""
    issuer.gate.clear()
    issuer.asked.clear()
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        assert issuer.asked.wait(WAIT)
        yield
    finally:
        issuer.gate.set()
        thread.join(WAIT)
        assert not thread.is_alive()


def whoami(context: CallContext) -> str:
    assert context.identity is not None
    return context.identity.name


def test_an_unknown_key_id_takes_one_worker_of_a_portal(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    config = ServingConfig(workers=4)  # one client may hold three
    with HTTPPortal(auth=by_issuer(issuer, clock, jwks_timeout=WAIT), config=config) as portal:
        url, rpc = str(portal.apply(whoami)), f"{portal.base}/rpc"
        assert post(url, signed("one")).status_code == 200
        clock.now += 10
        batch = [{"jsonrpc": "2.0", "method": "whoami", "id": number} for number in range(20)]
        with fetching(issuer, lambda: post(url, signed("unknown"))):
            for number in range(8):
                assert overloaded(post(url, signed(f"unknown-{number}")))
                headers = {"Authorization": f"Bearer {signed(f'other-{number}')}"}
                assert overloaded(requests.post(rpc, json=batch, headers=headers, timeout=WAIT))
                assert post(url, signed("one")).json() == "ann"
        assert issuer.fetched == 2
        assert portal.stats()["auth"] == {"rejected_during_key_fetch": 16}
        assert post(url, signed("unknown")).status_code == 401  # now it is known that there is no such key


def test_an_unknown_key_id_under_wsgi(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    portal = HTTPPortal(auth=by_issuer(issuer, clock, jwks_timeout=WAIT), listen=False)
    portal.apply(whoami)

    def status(token: str) -> str:
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/api/whoami", "CONTENT_TYPE": "application/json"}
        environ |= {"HTTP_AUTHORIZATION": f"Bearer {token}", "CONTENT_LENGTH": "2", "wsgi.input": io.BytesIO(b"{}")}
        setup_testing_defaults(environ)
        found: list[str] = []
        list(portal(environ, lambda line, headers: found.append(line)))
        return found[0]

    try:
        assert status(signed("one")).startswith("200")
        clock.now += 10
        with fetching(issuer, lambda: status(signed("unknown"))):
            assert [status(signed(f"unknown-{number}"))[:3] for number in range(20)] == ["503"] * 20
            assert status(signed("one")).startswith("200")
    finally:
        portal.close()


UNKNOWN: dict[str, tuple[str, float]] = {
    "no id among several keys": (signed(None), 10),
    "an empty id": (signed(""), 10),
    "a known id for another algorithm": (signed("ec"), 10),
    "an unknown id after the set has expired": (signed("unknown"), 301),
    "no id after the set has expired": (signed(None), 301),
}


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_no_other_token_waits_for_a_slow_issuer(unknown: str, issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"), jwk(RSA_OTHER, "two"), jwk(EC256, "ec"))
    checked = by_issuer(issuer, clock, jwks_timeout=WAIT)
    assert checked.identity_of(signed("one")).name == "ann"
    text, later = UNKNOWN[unknown]
    clock.now += later

    def ask() -> None:
        with suppress(AuthenticationError):
            checked.identity_of(text)

    with fetching(issuer, ask):
        for _ in range(20):
            with pytest.raises(OverloadedError) as caught:
                checked.identity_of(text)
            assert caught.value.retry_after == 1
            assert checked.identity_of(signed("one")).name == "ann"
    assert issuer.fetched == 2
    assert checked.counters() == {"rejected_during_key_fetch": 20}


def test_without_keys_others_wait_shortly_for_the_first_fetch(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    for wait in (0.0, 0.05):
        checked = by_issuer(issuer, clock, jwks_timeout=WAIT, jwks_wait=wait)
        with fetching(issuer, lambda checked=checked: checked.identity_of(signed("one"))):  # type: ignore[misc]
            results = together(8, lambda _, checked=checked: checked.identity_of(signed("one")))  # type: ignore[misc]
            # The fetch goes on, so that they cannot have waited for its end.
            assert [type(result) for result in results] == [OverloadedError] * 8
        assert checked.counters() == {"rejected_during_key_fetch": 8}
        assert checked.identity_of(signed("one")).name == "ann"


def test_a_fetch_that_takes_longer_than_the_interval_is_not_followed_by_another(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    checked = by_issuer(issuer, clock)
    assert checked.identity_of(signed("one")).name == "ann"
    clock.now += 10
    with fetching(issuer, lambda: refused(checked, signed("unknown"))):
        clock.now += 60
    refused(checked, signed("unknown"))
    assert issuer.fetched == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_process_fetches_by_itself(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(jwk(RSA_KEY, "one"))
    checked, good = by_issuer(issuer, clock), signed("one")
    issuer.gate.clear()
    leader = threading.Thread(target=checked.identity_of, args=(good,), daemon=True)
    leader.start()
    assert issuer.asked.wait(WAIT)
    child = os.fork()
    if child == 0:  # the leader's thread is not here
        try:
            issuer.gate = threading.Event()
            os._exit(0 if checked.identity_of(good).name == "ann" else 1)
        finally:
            os._exit(2)
    issuer.gate.set()
    assert os.waitpid(child, 0)[1] == 0
    leader.join(WAIT)
    assert not leader.is_alive()
    assert issuer.fetched == 2


def test_keys_over_tls(issuer: Issuer, clock: Clock) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    issuer.server.socket = server.wrap_socket(issuer.server.socket, server_side=True, do_handshake_on_connect=False)
    issuer.publish(jwk(RSA_KEY, "one"))
    url = issuer.url.replace("http://127.0.0.1", "https://localhost")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    good = signed("one")
    assert by_issuer(issuer, clock, jwks_url=url, tls=trusting).identity_of(good).name == "ann"
    with pytest.raises(OverloadedError):
        by_issuer(issuer, clock, jwks_url=url).identity_of(good)
    assert issuer.fetched == 1


def test_a_key_set_without_cryptography_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match=r"HS .*cryptography. is installed \(pip install 'portal-functions\[jwt\]'\)"):
        JWTAuth(algorithms=["RS256"], jwks_url="https://127.0.0.1:1/keys")
