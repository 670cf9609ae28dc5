from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from portal import Consumer
from tests.support.command import run, serving


@pytest.fixture
def double(tmp_path: Path) -> str:
    file = tmp_path / "double.js"
    file.write_text("/** @param {number} n */\nexport default function double(n) { return n * 2 }")
    return str(file)


@pytest.mark.parametrize("options", [(), ("--trusted",), ("--engine", "quickjs", "--timeout", "30")])
def test_run(double: str, options: tuple[str, ...]) -> None:
    done = run("js", "run", double, "--params", '{"n": 4}', *options)
    assert (done.exit_code, done.output) == (0, "8\n")


def test_run_reports_errors(double: str, tmp_path: Path) -> None:
    assert run("js", "run", double, "--params", '{"n": "x"}').exit_code == 3
    assert run("js", "run", double, "--params", "[]").exit_code == 2
    assert run("js", "run", double, "--params", "{").exit_code == 2
    assert run("js", "run", str(tmp_path / "none.js")).exit_code == 2
    fails = tmp_path / "fails.js"
    fails.write_text("() => {\n  null.x }")
    done = run("js", "run", str(fails), "--json")
    assert done.exit_code == 1
    assert json.loads(done.stderr)["line"] == 2


@pytest.mark.skipif(find_spec("tree_sitter") is None, reason="tree-sitter has no wheel for this Python")
def test_check(double: str, tmp_path: Path) -> None:
    assert run("js", "check", double).exit_code == 0
    bad = tmp_path / "bad.js"
    bad.write_text("() => {\n  eval('1') }")
    done = run("js", "check", double, str(bad))
    assert done.exit_code == 3
    assert done.output == f"{bad}:2:3: code must not be loaded or made while it runs (eval)\n"


def test_bench(double: str) -> None:
    done = run("js", "bench", double, "--params", '{"n": 4}', "--seconds", "0.2", "--json")
    rows = json.loads(done.output)
    assert min(row["calls_per_second"] for row in rows.values()) > 0
    assert set(rows) == {"trusted", "untrusted"}
    assert "calls/s" in run("js", "bench", double, "--params", '{"n": 4}', "--seconds", "0.2").output
    assert run("js", "bench", double, "--engine", "v8", "--params", '{"n": 4}', "--seconds", "0.2").exit_code == 2


def test_serve_a_folder(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "double.js").write_text("/** @param {number} n */ (n) => n * 2")
    with serving(tmp_path, "rules", "--http", "127.0.0.1:0", "--json") as server, Consumer() as consumer:
        assert server.stdout is not None
        announced = json.loads(server.stdout.readline())
        address = next(part for part in json.dumps(announced).split('"') if "/double" in part)
        assert consumer.call_at(address, {"n": 4}) == 8
