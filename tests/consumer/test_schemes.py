"""A scheme of another package: a wheel is built, installed and called through Consumer as any other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from portal import Consumer, RegistryError

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests" / "support" / "echo_scheme"

PROGRAM = """
import json
import portal
from portal import CallTimeout, Consumer, ConfigError, FunctionError, TransportError
from portal_echo import EchoServer

found, seen = {}, []

def note(call, call_next):
    seen.append(call.function.name)
    return call_next(call)

with EchoServer() as server, Consumer(middleware=[note]) as consumer:
    found["result"] = consumer.call_at(f"{server.base}/echo", {"n": [1, 2]}, timeout=10)
    found["again"] = consumer.submit_at(f"{server.base}/echo", {"n": 3}, timeout=10).result(10)
    found["mapped"] = list(consumer.map_at(f"{server.base}/echo", [{"n": 1}, {"n": 2}], timeout=10))
    found["resolved"] = consumer.resolve(f"{server.base}/echo")(n=5)
    for name, kind, timeout in (("fail", FunctionError, 10), ("hang", CallTimeout, 0.2)):
        try:
            consumer.call_at(f"{server.base}/{name}", {}, timeout=timeout)
        except kind as error:
            found[name] = type(error).__name__
    try:
        consumer.call_at("broken://host/f", {})
    except ConfigError as error:
        found["broken"] = str(error)
    found["schemes"] = [list(one.schemes) for one in consumer.resolvers()]
    dead = server.base
with Consumer() as consumer:
    try:
        consumer.call_at(f"{dead}/echo", {}, timeout=10)
    except TransportError as error:
        found["dead"] = error.delivery
found["seen"] = seen
found["file"] = portal.__file__
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel of portal_echo is installed."""
    folder = tmp_path_factory.mktemp("echo")
    shutil.copytree(SOURCE, folder / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--use-pep517"]
    wheel = [*pip, "wheel", *offline, "--wheel-dir", str(folder), str(folder / "source")]
    subprocess.run(wheel, check=True, capture_output=True, timeout=120)
    [built] = folder.glob("portal_echo-1.0-*.whl")
    install = [*pip, "install", "--no-deps", "--no-index", "--target", str(folder / "site"), str(built)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    return folder / "site"


def test_a_scheme_of_a_package_is_called_as_any_other(installed: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(installed)))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["result"] == {"n": [1, 2]}
    assert found["again"] == {"n": 3}
    assert found["mapped"] == [{"n": 1}, {"n": 2}]
    assert found["resolved"] == {"n": 5}
    assert (found["fail"], found["hang"], found["dead"]) == ("FunctionError", "CallTimeout", "unknown")
    assert found["seen"] == [*["echo"] * 5, "fail", "hang"]
    assert found["schemes"] == [["echo"]]
    assert "broken://" in found["broken"]
    assert "portal-echo" in found["broken"].replace("_", "-")
    assert "the library of this scheme is missing" in found["broken"]


def test_an_unknown_scheme_says_what_to_do() -> None:
    with Consumer() as consumer, pytest.raises(RegistryError, match="no resolver for nowhere://") as caught:
        consumer.call_at("nowhere://host/f", {})
    assert "install a package that offers nowhere://" in caught.value.hint
