"""README.md: its code runs, its commands print the shown output, and links resolve."""

from __future__ import annotations

import configparser
import contextlib
import os
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from time import monotonic

import pytest
import requests
from click.testing import CliRunner

import portal
from portal import Consumer, HTTPPortal, errors
from portal.cli import main as cli
from portal.examples.orders import service
from tests.support.ports import free_port

ROOT = pathlib.Path(portal.__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SERVER = "http://127.0.0.1:8080"
WAIT = 60.0


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, str]]:
    """Return each `$ command` of the console blocks with the output below it."""
    pairs = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            pairs.append((command, printed))
    return pairs


@pytest.fixture(scope="module")
def server():
    with HTTPPortal() as http:
        http.apply_service(service)
        yield str(http.base).removesuffix("/api")


def comparable(text: str) -> list[list[str]]:
    """Return the words of each line, without widths of columns and digits of fingerprints."""
    return [re.sub(r"/[0-9a-f]{8}(?=\s)", "/<fingerprint>", line).split() for line in text.splitlines()]


# Django is set up once in a process. Its block runs in a process of its own, below.
ONE_PROCESS = [code for code in blocks("python") if "django" not in code]


@pytest.mark.parametrize("code", ONE_PROCESS, ids=lambda code: code.splitlines()[0])
def test_code_runs_and_prints_the_values_of_its_comments(code, server, capsys):
    exec(compile(code.replace(SERVER, server), "README.md", "exec", dont_inherit=True), {"__name__": "readme"})
    assert capsys.readouterr().out.split() == re.findall(r"print\(.+\) +# ([\d.]+)", code)


@contextlib.contextmanager
def started(arguments: list[str], folder: pathlib.Path, port: int) -> Iterator[None]:
    """Run a server process that listens on `port`, and terminate it at the end."""
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=folder, stdout=log, stderr=log,
            env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(folder)))},
        )  # fmt: skip
        try:
            end = monotonic() + WAIT
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=WAIT).close()
                    break
                except OSError:
                    assert process.poll() is None, (folder / "server.log").read_text()
                    assert monotonic() < end
                    threading.Event().wait(0.05)
            yield
        finally:
            process.terminate()
            process.wait(WAIT)


SERVING = [command for command, _ in commands() if command.startswith("portal serve ")]


@pytest.mark.parametrize("command", SERVING)
def test_the_serve_commands_run(command, tmp_path):
    port = free_port()
    served = f"http://127.0.0.1:{port}"
    with started(command.replace("127.0.0.1:8080", f"127.0.0.1:{port}").split(), tmp_path, port):
        token = re.search(r"--token \w+=(\S+)", command)
        if token:
            assert requests.post(f"{served}/api/orders/add", json={"a": 1, "b": 2}, timeout=WAIT).status_code == 401
        with Consumer(auth=token and token[1]) as consumer:
            assert consumer.call_at(f"{served}/api/orders/add", {"a": 1, "b": 2}) == 3.0
        page = requests.get(f"{served}/docs", timeout=WAIT)
        assert "swagger-ui" in page.text
        assert requests.get(f"{served}/openapi.json", timeout=WAIT).json()["openapi"].startswith("3.1")


UNDER_GUNICORN = [command for command, _ in commands() if command.startswith("gunicorn ")]


@pytest.mark.parametrize("command", UNDER_GUNICORN)
def test_the_gunicorn_command_serves_the_django_block(command, tmp_path):
    pytest.importorskip("gunicorn")
    pytest.importorskip("django")
    (code,) = [code for code in blocks("python") if "django" in code]
    (tmp_path / "shop.py").write_text(code)
    port = free_port()
    with started(command.replace(":8080", f":{port}").split(), tmp_path, port), Consumer() as consumer:
        assert consumer.call_at(f"http://127.0.0.1:{port}/api/smallest", {"numbers": [3, 1, 7]}) == 1


def test_the_django_block_serves_functions_and_django(tmp_path):
    pytest.importorskip("django")
    (code,) = [code for code in blocks("python") if "django" in code]
    (tmp_path / "shop.py").write_text(code)
    port = free_port()
    (tmp_path / "serve_it.py").write_text(
        "from wsgiref.simple_server import make_server\nfrom shop import application\n"
        f"make_server('127.0.0.1', {port}, application).serve_forever()\n"
    )
    with started(["serve_it"], tmp_path, port), Consumer() as consumer:
        assert consumer.call_at(f"http://127.0.0.1:{port}/api/smallest", {"numbers": [3, 1, 7]}) == 1
        assert requests.get(f"http://127.0.0.1:{port}/api/docs", timeout=WAIT).status_code == 200
        elsewhere = requests.get(f"http://127.0.0.1:{port}/elsewhere", timeout=WAIT)
        assert (elsewhere.status_code, elsewhere.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_every_console_command_is_tested():
    known = ("portal ", "curl ", "gunicorn ", "make ", "pip install ")
    assert [command for command, _ in commands() if not command.startswith(known)] == []
    assert len(SERVING) == 2
    assert INSTALLING == ["pip install ."]
    assert len(UNDER_GUNICORN) == 1


INSTALLING = [command for command, _ in commands() if command.startswith("pip install ")]


def test_an_installation_contains_every_file(tmp_path):
    """Build what `pip install .` builds, without an index."""
    pytest.importorskip("setuptools")
    clone, built = tmp_path / "clone", tmp_path / "built"
    clone.mkdir()
    for name in ("README.md", "LICENSE", "setup.cfg", "setup.py"):
        shutil.copy(ROOT / name, clone)
    shutil.copytree(ROOT / "portal", clone / "portal", ignore=shutil.ignore_patterns("__pycache__"))
    building = [sys.executable, "setup.py", "--quiet", "build", "--build-lib", str(built)]
    subprocess.run(building, cwd=clone, check=True, timeout=WAIT, capture_output=True)
    files = [path.relative_to(clone) for path in (clone / "portal").rglob("*") if path.is_file()]
    assert [path for path in files if not (built / path).exists()] == []


SETTINGS = configparser.ConfigParser()
SETTINGS.read(ROOT / "setup.cfg", encoding="utf-8")


def test_the_named_extras_exist():
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    table = text.partition("| extra | needed for |\n|---|---|\n")[2].partition("\n\n")[0]
    named = {extra for row in table.splitlines() for extra in re.findall(r"`([a-z]+)`", row.split("|")[1])}
    shown = re.findall(r"pip install '?(?:\.|portal-functions)\[([\w,]+)\]", README + text)
    assert {"docs", "gunicorn"} <= {extra for extras in shown for extra in extras.split(",")} <= named
    assert named <= set(SETTINGS["options.extras_require"])


PRINTING = [(command, printed) for command, printed in commands() if printed and command.startswith("portal ")]


@pytest.mark.parametrize(("command", "printed"), PRINTING, ids=[command for command, _ in PRINTING])
def test_the_portal_commands_print_the_shown_output(command, printed, server):
    result = CliRunner().invoke(cli.main, shlex.split(command.replace(SERVER, server))[1:], prog_name="portal")
    assert comparable(result.output.replace(server, SERVER)) == comparable(printed)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_commands_print_the_shown_output(server):
    shown = [(command, printed) for command, printed in commands() if command.startswith("curl ")]
    for command, printed in shown:
        arguments = shlex.split(command.replace(SERVER, server))
        done = subprocess.run([*arguments, "--noproxy", "*"], capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout.strip() == printed.strip()
    assert shown


def test_the_named_make_targets_exist():
    named = set(re.findall(r"make (?:PYTHON=\S+ )?([a-z-]+)`", README)) | {
        command.split()[1] for command, _ in commands() if command.startswith("make ")
    }
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def anchors(page: pathlib.Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    lost = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" not in link and not (target.exists() and (not anchor or anchor in anchors(target))):
            lost.append(link)
    assert lost == []


def test_the_table_of_errors_matches_the_code():
    rows = [
        f"| {name} | `{code}` | {status} | {rpc} | {'yes' if retryable else 'no'} |"
        for name, code, status, rpc, retryable in errors.error_table()
    ]
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if re.match(r"\| \w+ \| `\w+` \| \d", line)] == rows
