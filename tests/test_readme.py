"""What README.md and docs/ show is so: code runs, commands print what stands below them, links lead somewhere."""

from __future__ import annotations

import pathlib
import re
import shlex
import shutil
import subprocess

import pytest
from click.testing import CliRunner

import portal
from portal import HTTPPortal, cli, errors
from portal.examples.orders import service

ROOT = pathlib.Path(portal.__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SERVER = "http://127.0.0.1:8080"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, str]]:
    """Each `$ command` of the console blocks with what stands below it."""
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


def words(text: str) -> list[list[str]]:
    """Lines as lists of words: how far columns stand apart, and which digits a fingerprint has, is not looked at."""
    return [re.sub(r"/[0-9a-f]{8}(?=\s)", "/<fingerprint>", line).split() for line in text.splitlines()]


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[0])
def test_code_runs_and_prints_what_its_comments_say(code, server, capsys):
    exec(compile(code.replace(SERVER, server), "README.md", "exec", dont_inherit=True), {"__name__": "readme"})
    assert capsys.readouterr().out.split() == re.findall(r"print\(.+\) +# ([\d.]+)", code)


PRINTING = [(command, printed) for command, printed in commands() if printed and command.startswith("portal ")]


@pytest.mark.parametrize(("command", "printed"), PRINTING, ids=[command for command, _ in PRINTING])
def test_commands_print_what_is_shown(command, printed, server):
    answer = CliRunner().invoke(cli.main, shlex.split(command.replace(SERVER, server))[1:], prog_name="portal")
    assert words(answer.output.replace(server, SERVER)) == words(printed)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_curl_prints_what_is_shown(server):
    shown = [(command, printed) for command, printed in commands() if command.startswith("curl ")]
    for command, printed in shown:
        arguments = shlex.split(command.replace(SERVER, server))
        done = subprocess.run([*arguments, "--noproxy", "*"], capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout.strip() == printed.strip()
    assert shown


def test_every_make_target_named_is_there():
    named = set(re.findall(r"make (?:PYTHON=\S+ )?([a-z-]+)`", README)) | {
        command.split()[1] for command, _ in commands() if command.startswith("make ")
    }
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def anchors(page: pathlib.Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    lost = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" not in link and not (target.exists() and (not anchor or anchor in anchors(target))):
            lost.append(link)
    assert lost == []


def test_the_table_of_errors_is_that_of_the_code():
    rows = [
        f"| {name} | `{code}` | {status} | {rpc} | {'yes' if retryable else 'no'} |"
        for name, code, status, rpc, retryable in errors.error_table()
    ]
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if re.match(r"\| \w+ \| `\w+` \| \d", line)] == rows
