"""A Consumer inside Flask and Django views: processes that fork, threads that share it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest

import portal
from portal import Consumer, FunctionError, HTTPPortal

ROOT = pathlib.Path(portal.__file__).parent.parent
WAIT = 30.0
REQUESTS = 200

# The consumer has called, and so has connections, before gunicorn forks with --preload.
SHARED = """
import os
from portal import Consumer

consumer = Consumer()
at = os.environ["PORTAL_UNDER_TEST"]
assert consumer.call_at(at + "/warm") == "warm"
"""
FILES = {
    "shared.py": SHARED,
    "flask_site.py": """
import os
from flask import Flask
from shared import at, consumer

application = Flask("site")

@application.get("/double/<int:number>")
def double(number):
    return {"pid": os.getpid(), "answer": consumer.call_at(at + "/double", {"number": number})}
""",
    "site_settings.py": """
SECRET_KEY = "only for a test"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "site_urls"
USE_TZ = True
""",
    "site_urls.py": """
import os
from django.http import JsonResponse
from django.urls import path
from shared import at, consumer

def double(request, number):
    return JsonResponse({"pid": os.getpid(), "answer": consumer.call_at(at + "/double", {"number": number})})

urlpatterns = [path("double/<int:number>", double)]
""",
    "django_site.py": """
import os
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
application = get_wsgi_application()
import site_urls  # Django would import it with the first request, after the fork
""",
}


class Published:
    """A portal in the test's process that notes what it was asked."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.warmed = 0
        self.http = HTTPPortal()
        self.http.apply(self.double)
        self.http.apply(self.warm)

    def double(self, number: int) -> int:
        self.numbers.append(number)
        return number * 2

    def warm(self) -> str:
        self.warmed += 1
        return "warm"


@pytest.fixture
def published() -> Iterator[Published]:
    served = Published()
    with served.http:
        yield served


@pytest.fixture
def site(tmp_path: pathlib.Path) -> pathlib.Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@contextlib.contextmanager
def started(arguments: list[str], site: pathlib.Path, published: Published, *, fd: int) -> Iterator[None]:
    paths = os.pathsep.join((str(ROOT), str(site)))
    with (site / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=site, stdout=log, stderr=log, pass_fds=[fd],
            env=os.environ | {"PYTHONPATH": paths, "PORTAL_UNDER_TEST": str(published.http.base)},
        )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            process.wait(WAIT)


def ask(url: str) -> tuple[int, int]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=WAIT) as response:
        result = json.loads(response.read())
    return result["pid"], result["answer"]


def ask_all(port: int) -> set[int]:
    """Ask for every number at once; gives the processes that answered. Each answer must be its own number's."""
    gate = threading.Barrier(REQUESTS)

    def one(number: int) -> tuple[int, int]:
        gate.wait(WAIT)
        return ask(f"http://127.0.0.1:{port}/double/{number}")

    with ThreadPoolExecutor(REQUESTS) as pool:
        results = list(pool.map(one, range(REQUESTS)))
    assert [response for _, response in results] == [number * 2 for number in range(REQUESTS)]
    return {pid for pid, _ in results}


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=512)


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["plain", "preload"])
@pytest.mark.parametrize("framework", ["flask", "django"])
def test_under_gunicorn(framework: str, preload: list[str], site: pathlib.Path, published: Published) -> None:
    pytest.importorskip("gunicorn")
    pytest.importorskip(framework)
    with listening() as given:
        arguments = [
            "-m", "gunicorn", "--bind", f"fd://{given.fileno()}", "--workers", "2", "--worker-class", "gthread",
            "--threads", "8", *preload, f"{framework}_site",
        ]  # fmt: skip
        with started(arguments, site, published, fd=given.fileno()):
            pids, rounds, end = set[int](), 0, monotonic() + WAIT
            while len(pids) < 2 and monotonic() < end:  # the first worker may be there long before the second
                pids |= ask_all(given.getsockname()[1])
                rounds += 1
    assert len(pids) == 2
    assert sorted(published.numbers) == sorted([*range(REQUESTS)] * rounds)
    assert published.warmed == (1 if preload else 2)
    assert published.http.stats()["calls"] == REQUESTS * rounds + published.warmed
    assert published.http.stats()["failed"] == 0


def test_under_werkzeug_with_threads(site: pathlib.Path, published: Published) -> None:
    pytest.importorskip("flask")
    with listening() as given:
        code = (
            "from werkzeug.serving import make_server; from flask_site import application; "
            f"make_server('127.0.0.1', 0, application, threaded=True, fd={given.fileno()}).serve_forever()"
        )
        with started(["-c", code], site, published, fd=given.fileno()):
            pids = ask_all(given.getsockname()[1])
    assert len(pids) == 1
    assert sorted(published.numbers) == list(range(REQUESTS))
    assert published.http.stats()["calls"] == REQUESTS + 1


# what docs/flask.md and docs/django.md show

# As the docs have it; a WSGI server's own test client would not meet what a real one does.
SERVE = """
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server
import {module}

class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass

server = make_server("127.0.0.1", 0, {module}.{name}, handler_class=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
"""


def shown(page: str, published: Published) -> list[str]:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```py\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block.replace("http://127.0.0.1:8080", str(published.http.base).removesuffix("/api")) for block in blocks]


@contextlib.contextmanager
def serving(site: pathlib.Path, module: str, name: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE.format(module=module, name=name)], cwd=site, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(site)))},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.communicate(timeout=WAIT)


def get(url: str) -> Any:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=WAIT) as response:
        return json.loads(response.read())


def add(a: float, b: float) -> float:
    return a + b


@pytest.mark.skipif(not hasattr(HTTPPortal, "wsgi"), reason="the portal has no wsgi yet")
@pytest.mark.parametrize(("framework", "name"), [("flask", "app"), ("django", "application")])
def test_publish_in_a_framework(framework: str, name: str, site: pathlib.Path, published: Published) -> None:
    pytest.importorskip(framework)
    (site / "shared.py").write_text("at = consumer = None")
    (site / "documented.py").write_text(shown(framework, published)[0])
    with serving(site, "documented", name) as base, Consumer() as consumer:
        assert consumer.call_at(f"{base}/api/add", {"a": 1, "b": 2}) == 3.0
        with pytest.raises(urllib.error.HTTPError) as rejected:
            get(f"{base}/elsewhere")
        rejected.value.close()
        assert rejected.value.headers["Content-Type"].startswith("text/html")


STREAM_IN_FLASK = """
@http.apply
def currencies(number: int):
    for _ in range(number):
        yield current_app.config["CURRENCY"]
"""


def test_functions_use_the_flask_application(site: pathlib.Path, published: Published) -> None:
    pytest.importorskip("flask")
    code = next(code for code in shown("flask", published) if "app_context" in code)
    (site / "shared.py").write_text("at = consumer = None")
    (site / "with_context.py").write_text(code + STREAM_IN_FLASK)
    with serving(site, "with_context", "app") as base, Consumer() as consumer:
        assert consumer.call_at(f"{base}/api/currency") == "EUR"
        assert list(consumer.stream_at(f"{base}/api/currencies", {"number": 3})) == ["EUR"] * 3


@pytest.mark.parametrize(("framework", "name"), [("flask", "app"), ("django", "application")])
def test_call_from_a_framework(framework: str, name: str, site: pathlib.Path, published: Published) -> None:
    pytest.importorskip(framework)
    address = published.http.apply(add)
    (site / "site_urls.py").write_text(next(code for code in shown(framework, published) if "sum/<int:a>" in code))
    module = "site_urls" if framework == "flask" else "django_site"
    with serving(site, module, name) as base:
        assert get(f"{base}/sum/1/2") == {"sum": 3.0}
        published.http.remove(address)
        with pytest.raises(urllib.error.HTTPError) as failed:
            get(f"{base}/sum/1/2")
        with failed.value:
            assert (failed.value.code, json.loads(failed.value.read())) == (502, {"error": "registry_error"})


# The connections that Django makes, of whichever thread, say whether they are open.
DATABASE = """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
from django.db import connection
from django.db.backends.signals import connection_created
from portal.http.server.mount import mount
from site_portal import http

made = []  # the same one again where it was closed and opened anew
connection_created.connect(lambda connection, **_: made.append(connection), weak=False)

def number() -> int:
    with connection.cursor() as cursor:
        return cursor.execute("select 7").fetchone()[0]

def broken() -> int:
    number()
    raise RuntimeError("as it happens")

def numbers(up_to: int):
    with connection.cursor() as cursor:
        count = "with recursive n(i) as (select 1 union all select i + 1 from n limit %s) select i from n"
        cursor.execute(count, [up_to])
        for row in cursor:
            yield row[0]

def connections() -> list[int]:
    return [len(made), len({id(one) for one in made if one.connection is not None})]

for function in (number, broken, numbers, connections):
    http.apply(function)
application = mount(application, http.wsgi)
"""
WITHOUT = "from portal import HTTPPortal\n\nhttp = HTTPPortal(listen=False)\n"


def post(url: str, params: Mapping[str, Any] | None = None) -> bytes:
    request = urllib.request.Request(url, json.dumps(params or {}).encode(), {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=WAIT) as response:
        result: bytes = response.read()
    return result


@pytest.mark.parametrize("documented", [True, False], ids=["as the docs show", "without"])
def test_calls_release_database_connections_of_django(
    documented: bool, site: pathlib.Path, published: Published
) -> None:
    """The second case says that what the docs show is needed, and that the test would see it missing."""
    pytest.importorskip("gunicorn")
    pytest.importorskip("django")
    (site / "shared.py").write_text("at = consumer = None")
    with (site / "site_settings.py").open("a") as settings:
        settings.write('DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.db"}}\n')
    (site / "site_portal.py").write_text(shown("django", published)[1] if documented else WITHOUT)
    (site / "project.py").write_text(DATABASE)
    with listening() as given:
        bind = f"fd://{given.fileno()}"
        arguments = ["-m", "gunicorn", "--bind", bind, "--worker-class", "gthread", "--threads", "8", "project"]
        with started(arguments, site, published, fd=given.fileno()), Consumer() as consumer:
            base = f"http://127.0.0.1:{given.getsockname()[1]}/api"
            # A Consumer's calls have a deadline, and run in threads of the portal; others run in those of gunicorn.
            assert list(consumer.map_at(f"{base}/number", [{}] * 20)) == [7] * 20
            with ThreadPoolExecutor(8) as pool:
                assert list(pool.map(post, [f"{base}/number"] * 20)) == [b"7"] * 20
            with pytest.raises(FunctionError):
                consumer.call_at(f"{base}/broken")
            assert list(consumer.stream_at(f"{base}/numbers", {"up_to": 500})) == [*range(1, 501)]
            assert post(f"{base}/numbers", {"up_to": 3}).split() == [b"1", b"2", b"3"]
            with contextlib.closing(consumer.stream_at(f"{base}/numbers", {"up_to": 10**9})) as given_up:
                assert next(given_up) == 1
            made, left, end = *consumer.call_at(f"{base}/connections"), monotonic() + WAIT
            while left and documented and monotonic() < end:  # until the server sees that nobody reads the stream
                made, left = consumer.call_at(f"{base}/connections")
    assert made
    assert (left == 0) is documented
