"""`portal serve`: what it takes, what it says, how it stops."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
import requests
import trustme
from click.testing import CliRunner

import portal
from portal import AuthenticationError, Consumer, HTTPPortal, PortalError, RateLimitError
from portal.cli import main as cli
from portal.cli import serve as cli_serve
from portal.http import ClientTLS, HTTPClient
from tests.support import valkey

ROOT = pathlib.Path(portal.__file__).parent.parent
TARGETS = '''
import signal
import threading
from portal import ApiKeyAuth, BearerAuth, Function, HTTPPortal, JWTAuth, LocalPortal, Service, function, service

def plain(a: int = 1) -> int:
    """A plain callable."""
    return a

made = function(plain)

@service(name="shop")
class Shop:
    def open(self) -> bool:
        return True

    def on_stop(self):
        print("stopping", flush=True)

instance = Shop()
ready = Service.of(Shop)
local = LocalPortal()
local.apply(plain)
http = HTTPPortal(base_path="/other")
http.apply_service(Shop)
number = 3
nobody = None
none = []
key = ApiKeyAuth({"k3y": "reports"})
keys = [key, BearerAuth({"t0ken": "ann"})]
jwt = JWTAuth(key="k" * 32, algorithms=["HS256"], audience="things")

@service
class Signalled:
    def stop(self, number: int) -> None:
        """Send the signal to this very thread, which is not the main one."""
        signal.pthread_kill(threading.get_ident(), number)

    def on_stop(self):
        print("stopping", flush=True)

@service
class Stubborn:
    """Does not end by being asked."""

    def on_stop(self):
        print("stopping", flush=True)
        threading.Event().wait()
'''


def run(*arguments: str):
    return CliRunner().invoke(cli.main, list(arguments), prog_name="portal")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current directory with a module `served_things`."""
    (tmp_path / "served_things.py").write_text(TARGETS)
    (tmp_path / "broken_things.py").write_text("1 / 0")
    (tmp_path / "ending_things.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("served_things", None)


@pytest.fixture
def stopped(monkeypatch):
    """Serving stops as soon as it is announced."""

    class Stopped:
        def __init__(self, on_hangup):
            assert callable(on_hangup)

        def wait(self):
            return True

    monkeypatch.setattr(cli_serve, "StopSignals", Stopped)


@pytest.mark.parametrize(
    ("target", "address", "services"),
    [
        ("plain", "/api/plain/", []),
        ("made", "/api/plain/", []),
        ("Shop", "/api/shop/open/", ["shop"]),
        ("instance", "/api/shop/open/", ["shop"]),
        ("ready", "/api/shop/open/", ["shop"]),
        ("local", "local://plain/", []),
        ("http", "/other/shop/open/", ["shop"]),
    ],
)
@pytest.mark.usefixtures("here", "stopped")
def test_serve_takes(target, address, services):
    answer = run("serve", f"served_things:{target}", "--http", "127.0.0.1:0", "--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout.splitlines()[0])
    assert address in told["functions"][0]["address"]
    assert [row["name"] for row in told["services"]] == services


@pytest.mark.usefixtures("here", "stopped")
def test_serve_prints_an_address_a_line():
    answer = run("serve", "served_things:plain", "served_things:instance", "--http", "[::1]:0")
    assert answer.exit_code == 0, answer.output
    first, second, *rest = answer.stdout.splitlines()
    assert first.startswith("http://[::1]:")
    assert "/api/shop/open/" in second
    assert rest == ["stopping"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["served_things"], 2, "served_things is not MODULE:TARGET"),
        (["served_things:"], 2, "is not MODULE:TARGET"),
        ([":plain"], 2, "is not MODULE:TARGET"),
        (["no_such_things:plain"], 2, "cannot import no_such_things: ModuleNotFoundError"),
        (["broken_things:plain"], 2, "cannot import broken_things: ZeroDivisionError"),
        (["served_things:plan"], 2, "served_things has no plan; did you mean plain"),
        (["served_things:nothing"], 2, "served_things has no nothing"),
        (["served_things:plain.nothing"], 2, "served_things has no plain.nothing"),
        (["served_things:number"], 2, "served_things:number is a int: no function, no service and no portal"),
        (["served_things:threading"], 2, "is a module: no function"),
        (["served_things:threading.Thread"], 2, "a class needs @service"),
        (["served_things.py:plain"], 2, "its module is named, as in served_things:plain"),
        (["./inner/things.py:plain"], 2, "its module is named, as in inner.things:plain"),
        (["ending_things:plain"], 2, "cannot import ending_things: SystemExit: 7"),
        (["served_things:plain", "served_things:plain", "served_things:made"], 3, "plain version 1 is taken"),
        (["served_things:plain", "--http", "8080"], 2, "8080 is not HOST:PORT"),
        (["served_things:plain", "--http", "host:http"], 2, "host:http is not HOST:PORT"),
        (["served_things:plain", "--http", "host:65536"], 2, "host:65536 is not HOST:PORT"),
        ([], 2, "Missing argument"),
    ],
)
@pytest.mark.usefixtures("here", "stopped")
def test_serve_refuses(arguments, code, said):
    answer = run("serve", "--http", "127.0.0.1:0", *arguments)
    assert said in answer.stderr
    assert (answer.exit_code, answer.stdout) == (code, "")


@pytest.mark.usefixtures("here", "stopped")
def test_debug_shows_where_an_import_failed():
    answer = run("serve", "broken_things:plain", "--debug")
    assert isinstance(answer.exception, ZeroDivisionError)


@pytest.mark.usefixtures("here", "stopped")
def test_a_port_in_use_is_a_failure_of_the_server():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = run("serve", "served_things:plain", "--http", f"127.0.0.1:{taken.getsockname()[1]}")
    assert answer.exit_code == 1
    assert answer.stderr.startswith("error: ")


def serving(target: str, folder: pathlib.Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "portal", "serve", target, "--http", "127.0.0.1:0", "--json"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_answers_until_a_signal_and_stops_in_order(here, number):
    with serving("served_things:Shop", here) as server, Consumer() as consumer:
        try:
            address = json.loads(server.stdout.readline())["functions"][0]["address"]
            assert consumer.call_at(address, {}) is True
            server.send_signal(number)
            assert server.stdout.readline() == "stopping\n"
            assert server.wait(20) == 0
        finally:
            server.kill()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_whichever_thread_gets_it(here, number):
    with serving("served_things:Signalled", here) as server, Consumer() as consumer:
        try:
            address = json.loads(server.stdout.readline())["functions"][0]["address"]
            assert consumer.call_at(address, {"number": int(number)}) is None
            assert server.wait(20) == 0
            assert server.stdout.readline() == "stopping\n"
        finally:
            server.kill()


def test_a_second_signal_ends_at_once(here):
    with serving("served_things:Stubborn", here) as server:
        try:
            assert json.loads(server.stdout.readline())["services"]
            server.terminate()
            assert server.stdout.readline() == "stopping\n"
            server.terminate()
            assert server.wait(20) == -signal.SIGTERM
        finally:
            server.kill()


# what goes around the calls


@contextmanager
def running(folder: pathlib.Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "portal", "serve", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ORDERS_TOKEN": "from-the-environment"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            yield server
        finally:
            server.terminate()
            server.communicate(timeout=30)


def first_address(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    return str(json.loads(server.stdout.readline())["functions"][0]["address"])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_options_protect_what_is_served(here, tmp_path):
    log = tmp_path / "requests.log"
    options = ["--token", "ann=s3cret", "--token", "ops=$ORDERS_TOKEN", "--limit", "2/minute", "--log", str(log)]
    arguments = ["served_things:plain", "--http", "127.0.0.1:0", "--json", "--cors", "https://a.example", *options]
    with running(here, *arguments) as server:
        address = first_address(server)
        with Consumer() as consumer, pytest.raises(AuthenticationError):
            consumer.call_at(address)
        with Consumer(auth="from-the-environment") as consumer:
            assert consumer.call_at(address) == 1
        with Consumer(auth="s3cret") as consumer:
            assert consumer.call_at(address) == 1
            with pytest.raises(RateLimitError):
                consumer.call_at(address)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["identity"] for row in rows if row["status"] == 200 and row["method"] == "POST"] == ["ops", "ann"]
    assert "s3cret" not in log.read_text()


def test_guesses_of_a_client_behind_a_proxy_are_limited(here):
    options = ["--token", "ann=s3cret", "--guess-limit", "2/hour", "--trusted-proxy", "127.0.0.0/8"]
    with running(here, "served_things:plain", "--http", "127.0.0.1:0", "--json", *options) as server:
        address = first_address(server)

        def status(client: str, token: str) -> int:
            headers = {"X-Forwarded-For": client, "Authorization": f"Bearer {token}"}
            return requests.post(address, json={}, headers=headers, timeout=10).status_code

        assert [status("192.0.2.1", token) for token in ("a", "b", "s3cret")] == [401, 401, 429]
        assert status("192.0.2.2", "s3cret") == 200


def test_tls(here, tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, ca = tmp_path / "chain.pem", tmp_path / "ca.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(chain))
    authority.cert_pem.write_to_path(str(ca))
    arguments = ["served_things:plain", "--http", "127.0.0.1:0", "--json", "--tls-certificate", str(chain)]
    client = HTTPPortal(client=HTTPClient(tls=ClientTLS(ca=ca)))
    with running(here, *arguments) as server, client, Consumer([client]) as consumer:
        address = first_address(server)
        assert address.startswith("https://")
        assert consumer.call_at(address) == 1
        server.send_signal(signal.SIGHUP)
        assert consumer.call_at(address) == 1


def test_several_processes(here):
    port = free_port()
    with running(here, "served_things:plain", "--http", f"127.0.0.1:{port}", "--workers", "2", "--token", "a=b"):
        wait_for_port(port)
        with Consumer(auth="b") as consumer:
            assert [consumer.call_at(f"http://127.0.0.1:{port}/api/plain") for _ in range(5)] == [1] * 5


def test_several_processes_tell_what_one_does(here):
    arguments = ["served_things:plain", "served_things:Shop", "--http", "127.0.0.1:0"]

    def told(server: subprocess.Popen[str]) -> list[str]:
        lines = [server.stdout.readline() for _ in range(2)]
        port = lines[0].partition("127.0.0.1:")[2].partition("/")[0]
        with Consumer() as consumer:
            assert consumer.call_at(lines[0].strip()) == 1
        return [line.replace(port, "PORT") for line in lines]

    with running(here, *arguments) as one, running(here, *arguments, "--workers", "2") as several:
        assert told(several) == told(one)
        assert any(line.startswith("serving at http://127.0.0.1:") for line in iter(several.stderr.readline, ""))


def test_several_processes_tell_it_once_as_json(here):
    with running(here, "served_things:Shop", "--http", "127.0.0.1:0", "--json", "--workers", "2") as server:
        told = json.loads(server.stdout.readline())
        assert [row["name"] for row in told["services"]] == ["shop"]
        with Consumer() as consumer:
            assert consumer.call_at(told["functions"][0]["address"]) is True
        server.terminate()
        assert set(server.stdout.read().splitlines()) <= {"stopping"}


def test_reload(here):
    port = free_port()
    (here / "changing.py").write_text("def f() -> int:\n    return 1\n")
    with running(here, "changing:f", "--http", f"127.0.0.1:{port}", "--reload"):
        wait_for_port(port)
        assert answer_of(port) == 1
        (here / "changing.py").write_text("def f() -> int:\n    return 22\n")
        end = monotonic() + 30
        while answer_of(port) != 22:
            assert monotonic() < end


def wait_for_port(port: int) -> None:
    end, pause = monotonic() + 30, threading.Event()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            assert monotonic() < end
            pause.wait(0.05)
        else:
            return


def answer_of(port: int) -> object:
    try:
        with Consumer() as consumer:
            return consumer.call_at(f"http://127.0.0.1:{port}/api/f", timeout=5)
    except PortalError:
        threading.Event().wait(0.05)
        return None


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--token", "nobody"], 2, "a name, = and a token"),
        (["--token", "a=$NOT_THERE_AT_ALL"], 2, "the environment has no NOT_THERE_AT_ALL"),
        (["--token", "a=same", "--token", "b=same"], 2, "a and b have the same token"),
        (["--auth", "served_things"], 2, "Invalid value for --auth: served_things is not MODULE:TARGET"),
        (["--auth", "served_things:nothing"], 2, "Invalid value for --auth: served_things has no nothing"),
        (["--auth", "served_things:number"], 2, "auth"),
        (["--auth", "served_things:ApiKeyAuth"], 2, "is a class"),
        (["--auth", "served_things:keys", "--token", "a=b"], 2, "--token is a bearer token, and so is what --auth"),
        (["--auth", "served_things:jwt", "--token", "a=b"], 2, "--token is a bearer token, and so is what --auth"),
        (["--auth", "served_things:nobody"], 2, "names no authenticator"),
        (["--auth", "served_things:none"], 2, "names no authenticator"),
        (["--auth", "served_things:none", "--token", "a=b"], 2, "names no authenticator"),
        (["--limit", "often", "--workers", "2"], 2, "often"),
        (["served_things:nothing", "--workers", "2"], 2, "served_things has no nothing"),
        (["served_things:number", "--workers", "2"], 2, "is a int"),
        (["served_things:local", "--workers", "2"], 2, "is a Portal"),
        (["--limit", "often"], 2, "often"),
        (["--cors", "shop.example"], 2, "origins"),
        (["--limit-store", "redis://127.0.0.1:1/0"], 2, "--limit-store needs --limit"),
        (["--limit", "1/second", "--limit-store", "memcached://x"], 2, "must be a URL such as"),
        (["--guess-limit", "1/second"], 2, "there is nothing to guess"),
        (["--guess-limit", "often", "--token", "a=b"], 2, "often"),
        (["--trusted-proxy", "10.0.0.1/8"], 2, "trusted_proxies"),
        (["--tls-key", "key.pem"], 2, "--tls-key needs --tls-certificate"),
        (["--tls-certificate", "nowhere.pem"], 2, "nowhere.pem"),
        (["--reload", "--workers", "2"], 2, "--reload is for one process"),
        (["--log", "/nowhere/at/all.log"], 2, "cannot be opened"),
    ],
)
@pytest.mark.usefixtures("here", "stopped")
def test_wrong_options(options, code, said):
    answer = run("serve", "served_things:plain", "--http", "127.0.0.1:0", *options)
    assert answer.exit_code == code, answer.output
    assert said in answer.output


@pytest.mark.parametrize(
    "options",
    [
        ["--token", "a=b"],
        ["--auth", "served_things:key"],
        ["--limit", "1/second"],
        ["--trusted-proxy", "127.0.0.1"],
        ["--cors", "*"],
        ["--log", "requests.log"],
    ],
)
@pytest.mark.usefixtures("here", "stopped")
def test_an_option_that_would_not_hold_for_a_portal_is_refused(options):
    answer = run("serve", "served_things:plain", "served_things:local", "--http", "127.0.0.1:0", *options)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert f"served_things:local is a Portal with settings of its own: {options[0]} would not hold" in answer.stderr


@pytest.mark.parametrize(("target", "more"), [("keys", []), ("key", ["--token", "ann=t0ken"])])
def test_any_authenticator(here, target, more):
    arguments = ["served_things:plain", "--http", "127.0.0.1:0", "--auth", f"served_things:{target}", *more]
    with running(here, *arguments) as server:
        address = server.stdout.readline().strip()
        with Consumer() as consumer, pytest.raises(AuthenticationError):
            consumer.call_at(address)
        with Consumer(auth="t0ken") as consumer:
            assert consumer.call_at(address) == 1
        sent = requests.post(address, json={}, headers={"X-API-Key": "k3y"}, timeout=30)
        assert (sent.status_code, sent.json()) == (200, 1)


@pytest.mark.usefixtures("here", "stopped")
def test_people_are_told_where_the_page_is():
    answer = run("serve", "served_things:plain", "--http", "127.0.0.1:0")
    origin = answer.stdout.partition("/api")[0]
    assert f"serving at {origin}, a page to try it at /docs; Ctrl-C stops" in answer.stderr


@pytest.mark.usefixtures("here", "stopped")
def test_of_a_portal_that_serves_itself_no_page_is_told():
    assert "serving" not in run("serve", "served_things:local").stderr


def test_what_is_told_of_a_unix_socket_reaches_it(here):
    with running(here, "served_things:plain", "--http", f"unix:{here}/a socket") as server:
        address = server.stdout.readline().strip()
        told = server.stderr.readline()
        assert told.startswith(f"serving at unix:{here}/a socket, reached by: portal list http://localhost --socket '")
        command = shlex.split(told.partition("reached by: portal ")[2].partition("; Ctrl-C")[0])
        assert run(*command).output == f"{address}  A plain callable.\n"
        reach = ("--socket", f"{here}/a socket")
        assert run("call", address, "a=5", *reach).output == "5\n"
        assert run("describe", address, *reach).output.startswith("plain  version 1")


def test_reload_says_when_the_server_has_ended(here):
    with running(here, "broken_things:f", "--http", "127.0.0.1:0", "--reload") as server:
        lines = iter(server.stderr.readline, "")
        assert any("cannot import broken_things" in line for line in lines)
        assert next(lines) == "the server has ended; it starts anew when a file changes\n"


def test_help_says_that_tokens_and_an_authenticator_of_tokens_exclude_each_other():
    words = " ".join(run("serve", "--help").output.split())
    assert "Not beside an --auth that looks at bearer tokens itself." in words
    assert "one of bearer tokens, such as a JWTAuth or a BearerAuth, takes its place." in words


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["served_things:local"], "served_things:local is a LocalPortal: of portals an HTTPPortal has"),
        (
            ["served_things:http", "served_things:plain"],
            "served_things:http is a Portal, which has a document of its own",
        ),
        (["served_things:http", "--title", "Portal"], "--title would not hold for it"),
        (["served_things:http", "--base-path", "/api"], "--base-path would not hold for it"),
        (
            ["served_things:plain", "--output", "/nowhere/at/all.json"],
            "/nowhere/at/all.json cannot be written: No such",
        ),
        (["no_such_things:plain"], "(--debug shows where)"),
    ],
)
@pytest.mark.usefixtures("here")
def test_openapi_refuses(arguments, said):
    answer = run("openapi", *arguments)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert said in " ".join(answer.stderr.split())


@pytest.mark.usefixtures("here")
def test_openapi_with_debug_shows_where_an_import_failed():
    assert isinstance(run("openapi", "broken_things:plain", "--debug").exception, ZeroDivisionError)


def test_openapi_of_a_portal_is_what_it_serves(here):
    (here / "protected.py").write_text(PROTECTED)
    written = here / "openapi.json"
    answer = run("openapi", "protected:http", "--output", str(written))
    assert (answer.exit_code, answer.stdout, answer.stderr) == (0, "", "[]\nstopping\n")
    with running(here, "protected:http") as server:
        assert server.stdout.readline() != "[]\n"
        origin = server.stdout.readline().partition("/shop/")[0]
        served = requests.get(f"{origin}/openapi.json", timeout=30).json()
    assert json.loads(written.read_text()) == served
    assert (served["info"]["title"], served["info"]["version"]) == ("Shop", "7")
    assert served["components"]["securitySchemes"]


PROTECTED = """
import sys
from portal import BearerAuth, HTTPPortal, service

@service(name="shop")
class Shop:
    def open(self, day: str) -> bool:
        return True

    def on_stop(self):
        print("stopping")

http = HTTPPortal(auth=BearerAuth({"t0ken": "ann"}), title="Shop", version="7", base_path="/shop")
http.apply_service(Shop)
print([http.port] if http.port else [])
"""


@pytest.mark.usefixtures("here")
def test_openapi_writes_the_document(tmp_path):
    answer = run("openapi", "served_things:plain", "served_things:Shop", "--title", "Things")
    document = json.loads(answer.output)
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "Things"
    assert {"/api/plain", "/api/shop/open"} <= document["paths"].keys()
    file = tmp_path / "openapi.json"
    assert run("openapi", "served_things:plain", "--output", str(file)).exit_code == 0
    assert json.loads(file.read_text())["paths"].keys() >= {"/api/plain"}


def test_servers_share_a_limit_in_a_store(here):
    with valkey.running() as store:
        options = ["--limit", "2/day", "--limit-store", f"redis://127.0.0.1:{store.port}/0"]
        arguments = ["served_things:plain", "--http", "127.0.0.1:0", "--json", *options]
        with running(here, *arguments) as one, running(here, *arguments) as other, Consumer() as consumer:
            first, second = first_address(one), first_address(other)
            assert [consumer.call_at(first), consumer.call_at(second)] == [1, 1]
            with pytest.raises(RateLimitError, match=r"the limit of 2/day \("):
                consumer.call_at(second)
