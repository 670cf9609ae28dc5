"""The pages in docs/: their code runs, their imports are public, every page is linked, sentences are short."""

from __future__ import annotations

import ast
import contextlib
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import trustme

import portal
from portal import HTTPPortal, RateLimit
from tests.support.ports import free_port, wait_for_port

ROOT = Path(portal.__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```(?:{language})\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def code_blocks(pages: list[Path], language: str) -> list[object]:
    return [
        pytest.param(block, id=f"{page.stem}-{number}")
        for page in pages
        for number, block in enumerate(blocks(page, language))
    ]


# Django is set up once in a process, and Flask and Django pages are served by tests/scenarios/test_frameworks.py.
RUNNABLE = [page for page in sorted(DOCS.glob("*.md")) if page.stem not in ("flask", "django")]


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the certificate files that the pages name into the current directory."""
    monkeypatch.chdir(tmp_path)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "clients.pem"))
    for name, host in (("server", "127.0.0.1"), ("shop", "shop.example"), ("org", "*.example.org")):
        issued = authority.issue_cert(host)
        issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / f"{name}.pem"))
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))


@pytest.mark.usefixtures("certificates")
@pytest.mark.parametrize("code", code_blocks(RUNNABLE, "python|py"))
def test_code_of_the_pages_runs(code: str) -> None:
    names: dict[str, object] = {"__name__": "docs"}
    try:
        exec(compile(code, "docs", "exec", dont_inherit=True), names)
        assert len(names) > 1
    finally:
        for value in names.values():
            if isinstance(value, HTTPPortal):
                value.close()


# imports

SOURCES = [(page.name, block) for page in PAGES for block in blocks(page, "python|py")] + [
    (path.name, path.read_text(encoding="utf-8")) for path in sorted((ROOT / "portal" / "examples").glob("*.py"))
]


def public_packages() -> set[str]:
    """Return the packages that docs/index.md lists for imports."""
    table = (DOCS / "index.md").read_text(encoding="utf-8").partition("| package | what it has |\n|---|---|\n")[2]
    return set(re.findall(r"^\| `([\w.]+)` \|", table.partition("\n\n")[0], re.MULTILINE))


def portal_imports(code: str) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for each name imported from Portal; the name is empty for `import module`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "portal")
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "portal":
            yield from ((node.module or "", alias.name) for alias in node.names)


def test_docs_and_examples_import_from_public_packages_only() -> None:
    public = public_packages()
    assert {"portal", "portal.http", "portal.auth", "portal.schema", "portal.serving", "portal.testing"} <= public
    found = [(where, *names) for where, code in SOURCES for names in portal_imports(code)]
    assert len(found) > 100
    assert [row for row in found if row[1] not in public] == []
    assert [row for row in found if row[2] and row[2] not in importlib.import_module(row[1]).__all__] == []


def test_public_packages_export_what_they_list() -> None:
    missing = [
        (package, name)
        for package in sorted(public_packages())
        for name in importlib.import_module(package).__all__
        if not hasattr(importlib.import_module(package), name)
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_dotted_names_in_the_text_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    if page.name == "CHANGELOG.md":
        text = text.partition("### Changed names")[0]  # it lists names that are gone
    names = set(re.findall(r"`(portal(?:\.\w+)+)(?:\(.*?\))?`", text))
    entry_points = {"portal.middleware", "portal.http_middleware", "portal.schemes", "portal.javascript_engines"}
    lost = []
    for name in sorted(name for name in names - entry_points if not name.endswith(".py")):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            # A TestingPortal in the text is named `portal`.
            if not hasattr(portal.TestingPortal, name.removeprefix("portal.")):
                lost.append(name)
    assert lost == []


# text


def test_every_decision_is_listed() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = sorted((DOCS / "decisions").glob("*.md"))
    titles = {page.name: page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for page in pages}
    assert pages
    assert [name for name, title in titles.items() if f"- [{title}](decisions/{name})\n" not in index] == []


def test_every_page_is_linked() -> None:
    index, readme = (
        (path / name).read_text(encoding="utf-8") for path, name in ((DOCS, "index.md"), (ROOT, "README.md"))
    )
    pages = [page.name for page in DOCS.glob("*.md") if page.name != "index.md"]
    assert [name for name in pages if f"({name})" not in index] == []
    assert [name for name in pages if f"(docs/{name})" not in readme] == []


def test_every_package_is_in_the_architecture() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([\w/.]+?)/?` \|", text, re.MULTILINE))
    top = {entry.name for entry in (ROOT / "portal").iterdir() if not entry.name.startswith("__")} - {"py.typed"}
    assert top - listed == set()
    assert [name for name in listed if not (ROOT / "portal" / name).exists()] == []
    named = re.findall(r"`((?:\w+/)+\w+\.py)`", text)
    assert [name for name in named if not any((ROOT / place / name).exists() for place in ("portal", "."))] == []


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page's prose: without code, with links and names as one word."""
    text = re.sub(r"^```.*?^```$", "\n\n", text, flags=re.DOTALL | re.MULTILINE)
    for block in re.split(r"\n\s*\n|\n(?=[-|#] ?|\d+\. )", text):
        is_row = block.lstrip().startswith("|")
        for part in block.replace("\\|", "").split("|") if is_row else [block]:
            plain = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "x", part))
            yield from re.split(r"(?<=[.!?])\s+", " ".join(plain.replace("**", "").split()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sentences_are_short(page: Path) -> None:
    found = list(sentences(page.read_text(encoding="utf-8")))
    assert len(found) > 3
    assert [sentence for sentence in found if len(sentence.split()) > 25] == []


# nginx


@contextlib.contextmanager
def running_nginx(folder: Path, server: str, port: int) -> Iterator[None]:
    paths = "\n".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}\n{server}\n}}\n"
    )
    command = [str(NGINX), "-p", str(folder), "-c", "nginx.conf", "-e", str(folder / "error.log")]
    environment = {key: value for key, value in os.environ.items() if key != "NGINX"}
    with subprocess.Popen(command, env=environment) as process:
        try:
            wait_for_port(port)
            yield
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_the_nginx_configuration_works(tmp_path: Path) -> None:
    (server,) = blocks(DOCS / "serving.md", "nginx")
    port = free_port()

    def count(to: int) -> Iterator[int]:
        yield from range(to)

    limit = RateLimit("1/minute", per="client")
    with HTTPPortal(trusted_proxies=["127.0.0.0/8"], middleware=[limit]) as http:
        http.apply(count)
        server = server.replace("127.0.0.1:8080", f"127.0.0.1:{http.port}").replace(
            "listen 80", f"listen 127.0.0.1:{port}"
        )
        with running_nginx(tmp_path, server, port):

            def call(client: str) -> requests.Response:
                url, headers = f"http://127.0.0.1:{port}/api/count", {"X-Forwarded-For": client}
                return requests.post(url, json={"to": 3}, headers=headers, timeout=10)

            assert call("192.0.2.1").text.split() == ["0", "1", "2"]
            assert call("192.0.2.1").status_code == 429
            assert call("192.0.2.2").status_code == 200
