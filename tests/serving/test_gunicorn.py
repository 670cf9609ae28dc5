"""The listener under gunicorn: processes, stops, restarts."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
import requests

import portal
from portal import Consumer, PortalError, TransportError
from portal._internal.background import LoopGuard
from portal.serving import Listener

pytest.importorskip("gunicorn")
from gunicorn.config import Config

from portal.serving import gunicorn as gunicorn_module
from portal.serving.gunicorn import Worker
from tests.support.clocks import Clock
from tests.support.waiting import eventually

ROOT = pathlib.Path(portal.__file__).parent.parent
WAIT = 60.0
MODULE = """
import os
import threading
from portal import HTTPPortal

def pid() -> int:
    return os.getpid()

def slow(seconds: float) -> int:
    print(f"slow for {seconds}", flush=True)
    threading.Event().wait(seconds)
    return os.getpid()

def make():
    http = HTTPPortal()
    http.apply(pid)
    http.apply(slow)
    return http

def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"hello from {os.getpid()}".encode()]

served = make()

def hosting():
    from portal.http import host
    return host(make(), hello)

application = lambda environ, start_response: []
"""
DJANGO = """
import os
import django
from django.conf import settings
settings.configure(SECRET_KEY="it's a secret", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
django.setup()
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from portal import HTTPPortal
from portal.http import host

def page(request):
    text = f"{request.method} {len(request.body)} by {os.getpid()}"
    return StreamingHttpResponse(iter(text)) if "stream" in request.GET else HttpResponse(text)

def pid() -> int:
    return os.getpid()

urlpatterns = [path("any/page", page)]
http = HTTPPortal()
http.apply(pid)
host(http, get_wsgi_application())
"""

adopts = pytest.mark.skipif(not hasattr(Listener, "adopt"), reason="this Listener opens its socket itself")


class Gunicorn:
    """A running gunicorn: its process, its port, and what it has logged."""

    def __init__(self, directory: pathlib.Path, target: str, options: tuple[str, ...]) -> None:
        self.log = directory / "gunicorn.log"
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.base = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "gunicorn", "-k", "portal.serving.gunicorn.Worker", "--chdir", str(directory),
                    "--bind", f"fd://{listening.fileno()}", "--graceful-timeout", "5", *options, target,
                ],
                stdout=log, stderr=log, pass_fds=[listening.fileno()],
                env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(directory)))},
            )  # fmt: skip
        listening.close()

    def says_after(self, text: str, times: int, act: Callable[[int], object]) -> None:
        """Repeat an action until the log has a text. A reloader may have missed the first time."""
        end, turn = monotonic() + WAIT, 0
        while self.log.read_text().count(text) < times:
            assert monotonic() < end, self.log.read_text()
            act(turn := turn + 1)
            threading.Event().wait(1.0)

    def says(self, text: str, times: int = 1) -> None:
        """Wait until the log has a text."""
        end = monotonic() + WAIT
        while self.log.read_text().count(text) < times:
            assert monotonic() < end, self.log.read_text()
            threading.Event().wait(0.02)


@contextlib.contextmanager
def gunicorn(
    directory: pathlib.Path, *options: str, target: str = "served_module:served", module: str = MODULE
) -> Iterator[Gunicorn]:
    (directory / "served_module.py").write_text(module)
    running = Gunicorn(directory, target, options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
        running.process.wait(WAIT)


def pids(consumer: Consumer, base: str, calls: int) -> set[int]:
    with ThreadPoolExecutor(16) as pool:
        return set(pool.map(lambda _: consumer.call_at(f"{base}/slow", {"seconds": 0.02}), range(calls)))


@adopts
@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["plain", "preload"])
def test_two_workers_serve_one_socket(tmp_path: pathlib.Path, options: tuple[str, ...]) -> None:
    with gunicorn(tmp_path, "-w", "2", *options) as running, Consumer() as consumer:
        running.says("Booting worker", 2)
        seen: set[int] = set()
        end = monotonic() + WAIT
        while len(seen) < 2 and monotonic() < end:
            # a connection stays with its worker, so both are met over several consumers' connections
            with Consumer() as another:
                seen |= pids(another, running.base, 32)
        assert len(seen) == 2
        assert running.process.pid not in seen
        names = {row["name"] for row in consumer.list_at(running.base)["functions"]}
        assert names == {"pid", "slow"}


@adopts
def test_a_callable_that_makes_the_portal(tmp_path: pathlib.Path) -> None:
    with gunicorn(tmp_path, "-w", "1", target="served_module:make()") as running, Consumer() as consumer:
        assert consumer.call_at(f"{running.base}/pid") != running.process.pid


@adopts
def test_an_application_and_a_portal_on_one_listener(tmp_path: pathlib.Path) -> None:
    with gunicorn(tmp_path, "-w", "1", target="served_module:hosting()") as running, Consumer() as consumer:
        worker = consumer.call_at(f"{running.base}/pid", timeout=WAIT)
        page = requests.get(running.base.replace("/api", "/any/page"), timeout=WAIT)
        assert page.text == f"hello from {worker}"


@adopts
@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["plain", "preload"])
def test_a_django_project_and_a_portal_on_one_listener(tmp_path: pathlib.Path, options: tuple[str, ...]) -> None:
    pytest.importorskip("django")
    serve = gunicorn(tmp_path, "-w", "1", *options, target="served_module:http", module=DJANGO)
    with serve as running, Consumer() as consumer:
        worker = consumer.call_at(f"{running.base}/pid", timeout=WAIT)
        assert worker != running.process.pid
        url = running.base.replace("/api", "/any/page")
        assert requests.post(url, data=b"x" * 1000, timeout=WAIT).text == f"POST 1000 by {worker}"
        assert requests.get(f"{url}?stream", timeout=WAIT).text == f"GET 0 by {worker}"
        assert requests.get(f"{url}s", timeout=WAIT).status_code == 404
        assert consumer.call_at(f"{running.base}/pid", timeout=WAIT) == worker


@adopts
def test_sigterm_lets_calls_finish(tmp_path: pathlib.Path) -> None:
    with gunicorn(tmp_path, "-w", "1") as running, Consumer() as consumer:
        worker = consumer.call_at(f"{running.base}/pid")
        future = consumer.submit_at(f"{running.base}/slow", {"seconds": 1.0})
        running.says("slow for 1.0")
        running.process.send_signal(signal.SIGTERM)
        assert future.result(WAIT) == worker
        assert running.process.wait(WAIT) == 0


DRAINED = """
from portal import HTTPPortal, ServingConfig

def one() -> int:
    return 1

served = HTTPPortal(config=ServingConfig(drain_delay=1.5))
served.apply(one)
"""


@adopts
def test_health_checks_and_the_delay_before_a_worker_stops(tmp_path: pathlib.Path) -> None:
    with gunicorn(tmp_path, "-w", "1", module=DRAINED) as running, Consumer() as consumer:
        assert consumer.call_at(f"{running.base}/one", timeout=WAIT) == 1
        root = running.base.removesuffix("/api")
        assert requests.get(f"{root}/health/ready", timeout=WAIT).json() == {"status": "up"}
        running.process.send_signal(signal.SIGTERM)
        began = monotonic()
        while requests.get(f"{root}/health/ready", timeout=WAIT).status_code != 503:
            assert monotonic() - began < 1.5
        assert requests.get(f"{root}/health/live", timeout=WAIT).status_code == 200
        assert consumer.call_at(f"{running.base}/one", timeout=WAIT) == 1
        assert running.process.wait(WAIT) == 0
        assert monotonic() - began >= 1.5


@adopts
def test_a_delay_that_leaves_no_time_for_calls_is_logged(tmp_path: pathlib.Path) -> None:
    with gunicorn(tmp_path, "-w", "1", "--graceful-timeout", "2", module=DRAINED) as running, Consumer() as consumer:
        assert consumer.call_at(f"{running.base}/one", timeout=WAIT) == 1
        running.process.send_signal(signal.SIGTERM)
        running.says("graceful_timeout=2 is too short for drain_delay=1.5 and running calls")


@adopts
def test_sigquit_ends_at_once(tmp_path: pathlib.Path) -> None:
    with gunicorn(tmp_path, "-w", "1", "--graceful-timeout", "60") as running, Consumer() as consumer:
        consumer.call_at(f"{running.base}/pid")
        future = consumer.submit_at(f"{running.base}/slow", {"seconds": 15.0})
        running.says("slow for 15.0")
        running.process.send_signal(signal.SIGQUIT)
        with pytest.raises(TransportError):  # within the grace it would have ended by itself
            future.result(WAIT)
        running.process.wait(WAIT)


@adopts
def test_hup_replaces_the_workers_without_losing_a_call(tmp_path: pathlib.Path) -> None:
    with gunicorn(tmp_path, "-w", "1") as running, Consumer() as consumer:
        old = consumer.call_at(f"{running.base}/pid")
        future = consumer.submit_at(f"{running.base}/slow", {"seconds": 0.5})
        running.says("slow for 0.5")
        running.process.send_signal(signal.SIGHUP)
        assert future.result(WAIT) == old
        running.says("Worker exiting")
        assert consumer.call_at(f"{running.base}/pid") != old


@adopts
@pytest.mark.parametrize("options", [(), ("--max-requests", "400")], ids=["hup", "max-requests"])
def test_replacing_workers_under_load_loses_no_call(tmp_path: pathlib.Path, options: tuple[str, ...]) -> None:
    """The functions are not idempotent, so no call is sent twice. Connections are kept alive or new."""
    wrong: list[object] = []
    seen: set[int] = set()
    over = threading.Event()

    def call_until_over(new: bool) -> None:
        consumer = Consumer()
        while not over.is_set():
            try:
                seen.add(consumer.call_at(f"{running.base}/pid"))
            except PortalError as error:
                wrong.append(error)
            if new:
                consumer.close()
                consumer = Consumer()
        consumer.close()

    with gunicorn(tmp_path, "-w", "2", *options) as running:
        running.says("Booting worker", 2)
        callers = [threading.Thread(target=call_until_over, args=(number % 2 == 0,)) for number in range(6)]
        for caller in callers:
            caller.start()
        for turn in (2, 3):
            if not options:
                running.process.send_signal(signal.SIGHUP)
            running.says("Booting worker", 2 * turn)
            running.says("Worker exiting", 2 * turn - 2)
        over.set()
        for caller in callers:
            caller.join(WAIT)
    assert wrong == []
    assert len(seen) >= 2


@adopts
def test_max_requests_ends_a_worker(tmp_path: pathlib.Path) -> None:
    with gunicorn(tmp_path, "-w", "1", "--max-requests", "5") as running, Consumer() as consumer:
        first = consumer.call_at(f"{running.base}/pid")
        for _ in range(6):
            consumer.call_at(f"{running.base}/pid")
        running.says("Autorestarting")
        running.says("Booting worker", 2)
        end = monotonic() + WAIT
        seen = first
        while seen == first and monotonic() < end:
            with contextlib.suppress(PortalError):
                seen = consumer.call_at(f"{running.base}/pid")
        assert seen != first


def change(directory: pathlib.Path, text: str) -> Callable[[int], None]:
    """Write a complete and changed module each time, as an editor does that saves again."""

    def write(turn: int) -> None:
        (directory / "saved.py").write_text(f"{text}\n# saved {turn}\n")
        (directory / "saved.py").replace(directory / "served_module.py")

    return write


@adopts
@pytest.mark.parametrize(
    "broken",
    ["this is no Python", "1 / 0", "import no_such_module", "served = 3", "served_too_late = 3"],
    ids=["syntax", "exception", "import", "no portal", "absent"],
)
def test_a_changed_file_reloads(tmp_path: pathlib.Path, broken: str) -> None:
    with gunicorn(tmp_path, "-w", "1", "--reload", "--reload-engine", "poll") as running, Consumer() as consumer:
        old = consumer.call_at(f"{running.base}/pid")
        running.says_after("there is nothing to serve until a file changes", 1, change(tmp_path, broken))
        booted = running.log.read_text().count("Booting worker")
        running.says_after("Booting worker", booted + 1, change(tmp_path, MODULE))
        assert consumer.call_at(f"{running.base}/pid") != old


@pytest.mark.parametrize(
    ("options", "target", "said"),
    [
        (("--certfile", "served_module.py"), "served_module:served", "set the certificates of the portal"),
        ((), "served_module:application", "or portal.http.host(HTTPPortal(), application)"),
    ],
)
def test_unusable_settings_are_rejected(
    tmp_path: pathlib.Path, options: tuple[str, ...], target: str, said: str
) -> None:
    (tmp_path / "served_module.py").write_text("")
    with gunicorn(tmp_path, "-w", "1", *options, target=target) as running:
        assert running.process.wait(WAIT) != 0
        assert said in running.log.read_text()


def warnings_for(**settings: Any) -> list[str]:
    said: list[str] = []
    cfg = Config()
    for name, value in settings.items():
        cfg.set(name, value)
    Worker.check_config(cfg, SimpleNamespace(warning=lambda words, *values: said.append(words % values)))
    return said


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("threads", 8, "--threads=8; use ServingConfig(workers=)"),
        ("keepalive", 75, "--keep-alive=75; use ServingConfig(idle_timeout=)"),
        ("worker_connections", 10, "--worker-connections=10; use ServingConfig(connections=)"),
        ("limit_request_line", 100, "--limit-request-line=100; use ServingConfig(max_target=)"),
        ("limit_request_fields", 10, "--limit-request-fields=10; use ServingConfig(max_headers=)"),
        ("forwarded_allow_ips", "10.0.0.1", "use HTTPPortal(trusted_proxies=)"),
        ("secure_scheme_headers", {"X-PROTO": "https"}, "use HTTPPortal(trusted_proxies=)"),
        ("proxy_protocol", True, "use a proxy that sends X-Forwarded-For"),
        ("accesslog", "-", "use HTTPPortal(http_middleware=[RequestLog(...)])"),
        ("access_log_format", "%(h)s", "use HTTPPortal(http_middleware=[RequestLog(...)])"),
        ("post_request", lambda worker, req, environ, resp: None, "use HTTPPortal(http_middleware=)"),
        ("ca_certs", "ca.pem", "--ca-certs='ca.pem'; use ServingConfig(tls=)"),
        ("strip_header_spaces", True, "the portal has its own parser"),
    ],
)
def test_a_warning_names_a_setting_that_is_ignored(name: str, value: Any, words: str) -> None:
    (said,) = warnings_for(**{name: value})
    assert "this worker ignores " in said
    assert words in said


def test_nothing_is_said_of_settings_that_apply() -> None:
    assert warnings_for() == []
    assert warnings_for(workers=4, timeout=60, graceful_timeout=5, max_requests=100, backlog=64, preload_app=True) == []
    with pytest.raises(RuntimeError, match="certificates"):
        warnings_for(certfile=__file__)


class Beats:
    """A worker without processes: its portal fails as told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.worker = Worker.__new__(Worker)
        log = lambda words, *values: self.said.append(words % values)  # noqa: E731
        self.worker.log = SimpleNamespace(error=log, warning=log, info=log)

    def look(self, *failing: str) -> bool:
        return self.worker._check(list(failing))


def test_a_worker_that_does_not_serve_sends_no_heartbeat_and_then_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, beats = Clock(100.0), Beats()
    monkeypatch.setattr(gunicorn_module, "monotonic", clock)
    assert beats.look()
    assert not beats.worker._failing
    assert beats.look("portal-listener")
    assert beats.worker._failing
    clock.now += 4
    assert beats.look("portal-listener")
    assert beats.look()
    assert not beats.worker._failing
    assert beats.said == ["the worker is not ready: failing=portal-listener", "the worker is ready again"]
    assert beats.look("portal-listener")
    clock.now += 5
    assert not beats.look("portal-listener")
    assert beats.said[-1] == "the worker ends, as it does not serve: failing=portal-listener"


def test_a_heartbeat_is_sent_only_while_the_portal_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    worker = Beats().worker
    reading, writing = os.pipe()
    try:
        os.write(writing, b"12")
        worker.PIPE, worker.timeout = (reading, writing), 30
        monkeypatch.setattr(worker, "notify", lambda: sent.append(1), raising=False)
        worker._beat()
        os.write(writing, b"3")
        worker._beat(serves=False)
    finally:
        os.close(reading)
        os.close(writing)
    assert sent == [1]


class FailingPortal:
    """A portal of a worker whose loop fails from a moment on, and the sockets and clock of its main thread."""

    def __init__(self, clock: Clock, fails_at: float) -> None:
        self.clock = clock
        self.beats: list[float] = []
        self._fails_at = fails_at
        self._guard = LoopGuard("test-loop", pause=lambda _: None, clock=clock)
        self.listener: Any = self

    @property
    def failing(self) -> list[str]:
        return ["test-loop"] if self._guard.failing else []

    def stats(self) -> dict[str, Any]:
        return {}

    def select(self, *sockets_and_timeout: Any) -> tuple[list[int], list[int], list[int]]:
        end = self.clock.now + sockets_and_timeout[3]
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 0.01)
            if self.clock.now >= self._fails_at:
                self._guard.note(ValueError("wrong"))
        return [], [], []


@pytest.mark.parametrize("offset", [0.0, 0.01, 0.1, 0.2, 0.24, 0.25, 0.49])
def test_a_worker_says_within_a_second_that_it_is_not_ready(monkeypatch: pytest.MonkeyPatch, offset: float) -> None:
    """Whenever the loop begins to fail between two heartbeats; all of it by one clock."""
    clock = Clock(1000.0)
    portal, beats = FailingPortal(clock, 1010.0 + offset), Beats()
    worker = beats.worker
    worker.alive, worker.ppid, worker.max_requests, worker.timeout = True, os.getppid(), sys.maxsize, 30
    worker.PIPE = (0, 1)
    monkeypatch.setattr(gunicorn_module, "monotonic", clock)
    monkeypatch.setattr(gunicorn_module, "restart_lost_loops", lambda: None)
    monkeypatch.setattr(gunicorn_module, "select", portal)
    monkeypatch.setattr(worker, "notify", lambda: portal.beats.append(clock.now), raising=False)
    moments = []
    while clock.now < 1020.0 and worker._goes_on(portal):
        moments.append((clock.now, bool(beats.said)))
        worker._beat(serves=not worker._failing)
    first = min(now for now, said in moments if said)
    assert 1010.0 + offset < first <= 1011.0 + offset
    assert first + 5.0 <= clock.now <= first + 6.0  # then it ends
    assert max(portal.beats) < first
    assert beats.said == [
        "the worker is not ready: failing=test-loop",
        "the worker ends, as it does not serve: failing=test-loop",
    ]


FAILING_MODULE = (
    MODULE
    + """
import sys
from portal.serving import gunicorn
from portal.serving.gunicorn import Worker
from portal.serving.io import poller

def there(name):
    return os.path.exists(os.path.join(os.path.dirname(__file__), name))

if there("patient"):
    gunicorn._MAX_FAILING = 600.0
wait, notify = poller._EpollPoller.wait, Worker.notify

def failing(self, *args):
    if there("fails"):
        raise MemoryError
    return wait(self, *args)

def noted(self):
    print("beat of", os.getpid(), file=sys.stderr, flush=True)
    notify(self)

poller._EpollPoller.wait, Worker.notify = failing, noted
"""
)


@adopts
@pytest.mark.skipif(not hasattr(select, "epoll"), reason="the fault is in epoll")
def test_a_real_worker_sends_no_heartbeat_while_its_loop_fails(tmp_path: pathlib.Path) -> None:
    not_ready, ends = "the worker is not ready: failing=portal-listener", "the worker ends, as it does not serve"
    fails = tmp_path / "fails"
    with gunicorn(tmp_path, "-w", "1", module=FAILING_MODULE) as running, Consumer() as consumer:
        first = consumer.call_at(f"{running.base}/pid", timeout=WAIT)
        (tmp_path / "patient").touch()  # for the second worker
        fails.touch()
        running.says(ends)
        fails.unlink()
        before, _, during = running.log.read_text().partition(ends)[0].partition(not_ready)
        assert f"beat of {first}" in before
        assert "beat of" not in during
        running.says("Booting worker", 2)
        with Consumer() as another:
            second = another.call_at(f"{running.base}/pid", timeout=WAIT)
        assert second != first
        fails.touch()
        running.says(not_ready, 2)
        fails.unlink()
        running.says("the worker is ready again")
        again = "the worker is ready again"
        assert "beat of" not in running.log.read_text().rpartition(not_ready)[2].partition(again)[0]
        eventually(lambda: f"beat of {second}" in running.log.read_text().rpartition(again)[2])
        with Consumer() as another:
            assert another.call_at(f"{running.base}/pid", timeout=WAIT) == second


LOGGING_MODULE = """
import io
import os
from wsgiref.util import setup_testing_defaults
from portal import HTTPPortal, function
from portal.http import RequestLog

HERE = os.path.dirname(__file__)

@function
def user() -> int:
    return os.geteuid()

def make(name, **options):
    made = HTTPPortal(http_middleware=[RequestLog(os.path.join(HERE, "logs", name), **options)])
    made.apply(user)
    return made

def call(portal):
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/api/user", "CONTENT_LENGTH": "2"}
    setup_testing_defaults(environ)
    environ |= {"CONTENT_TYPE": "application/json", "wsgi.input": io.BytesIO(b"{}")}
    assert b"".join(portal.wsgi(environ, lambda *given: None)) == b"%d" % os.geteuid()

# A request before the fork. So a user who may not read the files of the interpreter need not import anything.
warm = make("warm")
call(warm)
warm.close()
served = make("served")
root_first = make("root_first")
call(root_first)
"""


@adopts
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may change the user of workers")
@pytest.mark.parametrize(("target", "owner"), [("served", 65534), ("root_first", 0)])
def test_the_worker_of_another_user_writes_the_request_log(target: str, owner: int) -> None:
    """With --preload the portal is made by root. Its log is a file of the worker, or root has written to it before."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        directory = pathlib.Path(folder)
        directory.chmod(0o755)
        logs = directory / "logs"
        logs.mkdir()
        logs.chmod(0o777)
        log = logs / target
        options = ("-w", "1", "--user", "65534", "--group", "65534", "--preload")
        with gunicorn(directory, *options, target=f"served_module:{target}", module=LOGGING_MODULE) as running:
            before = ["/api/user"] if owner == 0 else []
            for _ in range(2):
                response = requests.post(f"{running.base}/user", json={}, timeout=WAIT)
                assert response.json() == 65534
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(WAIT) == 0
        lines = [json.loads(line)["path"] for line in log.read_text().splitlines()]
        assert lines == [*before, "/api/user", "/api/user"]
        assert log.stat().st_uid == owner
        assert stat.S_IMODE(log.stat().st_mode) & 0o027 == 0
        assert (logs / "warm").stat().st_uid == 0  # that one was written by root
