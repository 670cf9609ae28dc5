"""Password checks plain passwords and hashes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from portal import AuthenticationError, HTTPPortal, OverloadedError
from portal._internal.executor import WorkerPool
from portal.auth import hashing, passwords
from portal.auth.authentication import (
    BasicAuth,
    authenticate,
    hash_password,
)
from portal.auth.passwords import HashingLimit, Password
from portal.context import CallContext
from tests.support.credentials import authorized, basic, refusal_of

WAIT = 10.0
PBKDF2 = "pbkdf2:sha256:1000$salt$632c2812e46d4604102ba7618e9d6d7d2f8128f6266b4a03264d2a0460b7dcb3"  # of "password"
RIGHT = hash_password("right")


def test_hashed_passwords() -> None:
    stored = hash_password("pass:wörd")
    assert "wörd" not in stored
    assert stored != hash_password("pass:wörd")
    rounds = "pbkdf2:sha256:1000$salt$632c2812e46d4604102ba7618e9d6d7d2f8128f6266b4a03264d2a0460b7dcb3"
    auth = BasicAuth({"ann": stored, "bob": rounds, "carl": "clear"}, scopes={"ann": ["orders"]})
    assert authenticate([auth], authorized(basic("ann:pass:wörd"))).scopes == {"orders"}
    assert authenticate([auth], authorized(basic("ann:pass:wörd"))).name == "ann"  # remembered
    assert authenticate([auth], authorized(basic("bob:password"))).name == "bob"
    assert authenticate([auth], authorized(basic("carl:clear"))).name == "carl"
    for wrong in ("ann:wrong", "ann:pass:word", f"ann:{stored}", "bob:pass:wörd", "dora:pass:wörd", "dora:"):
        refusal_of(auth, authorized(basic(wrong)))


class SlowHash:
    """Hashes that take until `gate` is set. `running` has a permit for each that was started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate, self.started, self.computed = threading.Event(), threading.Semaphore(0), 0
        self._compute = passwords._scrypt
        monkeypatch.setattr(passwords, "_scrypt", self)
        pool = WorkerPool(4, name="test-hash")  # whatever number of processors there is
        monkeypatch.setattr(hashing, "hashing_pool", lambda: pool)

    def __call__(self, *arguments: Any) -> bytes:
        self.computed += 1
        self.started.release()
        assert self.gate.wait(WAIT)
        return self._compute(*arguments)

    @contextmanager
    def running(self, *checks: Callable[[], object]) -> Iterator[None]:
        """Run each check in a thread of its own, as far as its hash, while the body runs."""
        threads = [threading.Thread(target=check, daemon=True) for check in checks]
        for thread in threads:
            thread.start()
        try:
            for _ in threads:
                assert self.started.acquire(timeout=WAIT)
            yield
        finally:
            self.gate.set()
            for thread in threads:
                thread.join(WAIT)


def whoami(context: CallContext) -> str:
    assert context.identity is not None
    return context.identity.name


def post(url: str, user: str, password: str, body: Any = None) -> requests.Response:
    return requests.post(url, json=body or {}, auth=(user, password), timeout=WAIT)


def rejected(auth: BasicAuth, credential: str, peer: str = "192.0.2.1") -> bool:
    """Return whether a check is rejected at once because of the limit; a wrong password is not."""
    try:
        authenticate([auth], authorized(basic(credential), peer=peer))
    except OverloadedError as error:
        return error.retry_after == 1
    except AuthenticationError:
        return False
    return False


def test_a_portal_computes_a_few_hashes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    auth = BasicAuth({"ann": RIGHT, "bob": RIGHT})
    slow = SlowHash(monkeypatch)
    slow.gate.set()
    with HTTPPortal(auth=auth) as portal:
        url, rpc = str(portal.apply(whoami)), f"{portal.base}/rpc"
        assert post(url, "bob", "right").json() == "bob"
        slow.gate.clear()
        assert slow.started.acquire(timeout=WAIT)
        with slow.running(*[lambda: post(url, "ann", "wrong")] * 2):  # the share of one client
            batch = [{"jsonrpc": "2.0", "method": "whoami", "id": number} for number in range(20)]
            for response in (
                post(url, "ann", "wrong"),
                post(url, "ann", "right"),
                post(url, "unknown", "wrong"),  # needs a hash as well
                post(rpc, "ann", "wrong", batch),
            ):
                assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
                assert (response.json()["code"], response.json()["delivery"]) == ("overloaded", "not_sent")
            assert post(url, "bob", "right").json() == "bob"  # matched before; needs no hash
            assert slow.computed == 3
        assert portal.stats()["auth"] == {"rejected_password_checks": 4}
        assert post(url, "ann", "right").json() == "ann"


def ask_under_wsgi(portal: HTTPPortal, credential: str, body: Any = None) -> tuple[int, dict[str, str], Any]:
    """Return status, headers and data of a response of the application."""
    text = json.dumps({} if body is None else body).encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/api/whoami" if body is None else "/api/rpc", "SERVER_NAME": "x",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "192.0.2.1", "wsgi.url_scheme": "http",
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(text)), "wsgi.input": io.BytesIO(text),
        "HTTP_AUTHORIZATION": basic(credential),
    }  # fmt: skip
    started: list[tuple[str, Any]] = []
    pieces = portal.wsgi(environ, lambda status, headers, *rest: started.append((status, headers)))  # type: ignore[arg-type,return-value]
    data = json.loads(b"".join(pieces))
    ((status, headers),) = started
    return int(status[:3]), {name.lower(): value for name, value in headers}, data


def test_a_portal_computes_a_few_hashes_at_once_under_wsgi(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever number of threads the server has."""
    auth = BasicAuth({"ann": RIGHT, "bob": RIGHT})
    slow = SlowHash(monkeypatch)
    slow.gate.set()
    with HTTPPortal(listen=False, auth=auth) as portal:
        portal.apply(whoami)
        assert ask_under_wsgi(portal, "bob:right")[2] == "bob"
        slow.gate.clear()
        assert slow.started.acquire(timeout=WAIT)
        with slow.running(*[lambda: ask_under_wsgi(portal, "ann:wrong")] * 2):
            batch = [{"jsonrpc": "2.0", "method": "whoami", "id": number} for number in range(20)]
            for credential, body in (
                ("ann:wrong", None),
                ("ann:right", None),
                ("who:wrong", None),
                ("ann:wrong", batch),
            ):
                status, headers, problem = ask_under_wsgi(portal, credential, body)
                assert (status, headers["retry-after"]) == (503, "1")
                assert (problem["code"], problem["delivery"]) == ("overloaded", "not_sent")
            assert ask_under_wsgi(portal, "bob:right")[2] == "bob"
            assert slow.computed == 3
        assert portal.stats()["auth"] == {"rejected_password_checks": 4}
        assert ask_under_wsgi(portal, "ann:right")[2] == "ann"


def test_one_client_leaves_half_of_the_hashes_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    auth = BasicAuth({"ann": RIGHT}, max_hashing=4)
    slow = SlowHash(monkeypatch)
    addresses = ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.1"]  # two clients
    with slow.running(*[lambda peer=peer: rejected(auth, "ann:wrong", peer) for peer in addresses[:2]]):  # type: ignore[misc]
        assert rejected(auth, "ann:wrong", "2001:db8::3")  # the same network
        with slow.running(*[lambda peer=peer: rejected(auth, "ann:wrong", peer) for peer in addresses[2:]]):  # type: ignore[misc]
            slow.gate.clear()
            assert rejected(auth, "ann:right", "198.51.100.7")  # four are being computed
    assert slow.computed == 4
    assert not rejected(auth, "ann:right", "198.51.100.7")


@pytest.mark.parametrize("credential", ["carl:wrong", "nobody:x", "ann:", "bob:password", "ann:right"])
def test_no_other_password_is_checked_beyond_the_limit(credential: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords in plain text among hashed ones take a hash, and so does each kind of hash."""
    auth = BasicAuth({"ann": RIGHT, "bob": PBKDF2, "carl": "clear"}, max_hashing=1)
    slow = SlowHash(monkeypatch)
    with slow.running(lambda: rejected(auth, "ann:wrong")):
        assert [rejected(auth, credential) for _ in range(10)] == [True] * 10
        assert not rejected(auth, "carl:clear")
    assert auth.counters() == {"rejected_password_checks": 10}
    assert not rejected(auth, credential)


def test_plain_passwords_alone_are_not_limited() -> None:
    auth = BasicAuth({"carl": "clear"}, max_hashing=1)
    assert not any(rejected(auth, "carl:wrong") for _ in range(50))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_process_does_not_count_the_hashes_of_its_parent() -> None:
    limit = HashingLimit(1)
    with limit.running("192.0.2.1"):
        child = os.fork()
        if child == 0:
            try:
                with limit.running("192.0.2.1"):
                    os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        with pytest.raises(OverloadedError), limit.running("192.0.2.1"):
            pass
    with limit.running("192.0.2.1"):
        pass


MEMORY = """
import resource, threading
from portal.auth.authentication import BasicAuth, authenticate, hash_password
from tests.support.credentials import authorized, basic

auth = BasicAuth({"ann": hash_password("right")})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
barrier = threading.Barrier(32)

def guess(number):
    barrier.wait()
    for _ in range(3):
        try:
            authenticate([auth], authorized(basic(f"ann:{number}"), peer=f"192.0.2.{number}"))
        except Exception as error:
            errors.append(type(error).__name__)

errors = []
threads = [threading.Thread(target=guess, args=(number,)) for number in range(32)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, *sorted(set(errors)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_the_memory_of_hashes_is_bounded() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=240, check=True)
    kibibytes, *errors = done.stdout.split()
    assert errors == ["AuthenticationError", "OverloadedError"]
    assert int(kibibytes) < 4 * 33 * 1024  # 32 MiB for each of four; one was computed before


# the time of a check

MIXES: dict[str, dict[str, str]] = {
    "plain and hashed": {"ann": RIGHT, "carl": "clear"},
    "plain and cheap": {"bob": PBKDF2, "carl": "clear"},
    "two algorithms": {"ann": RIGHT, "bob": PBKDF2},
    "two costs": {"bob": PBKDF2, "bill": PBKDF2.replace(":1000$", ":4000$")},
    "two lengths": {"bob": PBKDF2, "bill": PBKDF2 + "00" * 32},  # PBKDF2 makes each 32 bytes by themselves
    "all": {"ann": RIGHT, "bob": PBKDF2, "bill": PBKDF2.replace("sha256", "sha512"), "carl": "clear"},
    "plain only": {"carl": "clear", "dan": "other"},
    "hashed only": {"ann": RIGHT, "eve": hash_password("right")},
}


@pytest.mark.parametrize("mix", MIXES)
def test_the_work_does_not_reveal_which_names_exist(mix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = BasicAuth(MIXES[mix])
    if "ann" in MIXES[mix]:  # a password that has matched before must not reveal its name, either
        assert authenticate([auth], authorized(basic("ann:right"))).name == "ann"
    done: list[tuple[Any, ...]] = []
    scrypt, pbkdf2 = passwords._scrypt, passwords.hashlib.pbkdf2_hmac

    def count_scrypt(given: bytes, salt: bytes, *cost: int) -> bytes:
        done.append(("scrypt", *cost))
        return scrypt(given, salt, *cost)

    def count_pbkdf2(name: str, given: bytes, salt: bytes, *cost: int) -> bytes:
        done.append((name, *cost))
        return pbkdf2(name, given, salt, *cost)

    monkeypatch.setattr(passwords, "_scrypt", count_scrypt)
    monkeypatch.setattr(passwords.hashlib, "pbkdf2_hmac", count_pbkdf2)
    work: dict[str, Counter[tuple[Any, ...]]] = {}
    for name in [*MIXES[mix], "unknown", ""]:
        done.clear()
        refusal_of(auth, authorized(basic(f"{name}:wrong")))
        work[name] = Counter(done)
    assert len({tuple(one.items()) for one in work.values()}) == 1, work
    hashed = {Password(stored).cost for stored in MIXES[mix].values()} - {None}
    assert sum(work["unknown"].values()) == len(hashed)


def test_each_kind_of_password_still_matches() -> None:
    auth = BasicAuth(MIXES["all"] | {"bill": PBKDF2})
    for credential in ("ann:right", "bob:password", "bill:password", "carl:clear"):
        for _ in range(2):
            assert authenticate([auth], authorized(basic(credential))).name == credential.partition(":")[0]
    for wrong in ("ann:clear", "bob:right", "carl:password", "unknown:right", "unknown:password", "carl:"):
        refusal_of(auth, authorized(basic(wrong)))
