"""schemathesis against real portals: all checks, all phases. Every failure is a defect of the document or the server.

`make conformance` runs it at length, with the number of examples in PORTAL_CONFORMANCE.
"""

from __future__ import annotations

import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from portal import HTTPPortal
from portal.examples import orders
from tests.conformance import odd_types
from tests.support import every_type_service

HERE = Path(__file__).parent
EXAMPLES = os.environ.get("PORTAL_CONFORMANCE", "")
WAIT = 3600.0 if EXAMPLES else 300.0
BASIC = b64encode(f"eve:{every_type_service.PASSWORD}".encode()).decode()

pytestmark = pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed")


def example() -> HTTPPortal:
    http = HTTPPortal()
    http.apply_service(orders.service)
    return http


RUNS: dict[str, tuple[Callable[[], HTTPPortal], list[str]]] = {
    "orders": (example, []),
    "every-type": (every_type_service.portal, []),
    "bearer": (every_type_service.protected, [f"Authorization: Bearer {every_type_service.TOKEN}"]),
    "key": (every_type_service.protected, [f"X-API-Key: {every_type_service.API_KEY}"]),
    "basic": (every_type_service.protected, [f"Authorization: Basic {BASIC}"]),
    **({"odd-types": (odd_types.portal, [])} if EXAMPLES else {}),
}


@pytest.mark.parametrize("name", RUNS)
def test_all_checks_pass(name: str, tmp_path: Path) -> None:
    make, headers = RUNS[name]
    # A generated credential beside the right one proves nothing: any one that is right will do (OpenAPI 3.1.1, Security
    # Requirement Object). The check that a call without one, or with a wrong one alone, is refused stays on.
    known = ["--generation-with-security-parameters", "false"] if headers else []
    # what authentication adds is the same for each kind of type: a short run has each kind once
    brief = [] if EXAMPLES or not headers else ["--include-tag", "old", "--include-name", "POST /api/add"]
    with make() as portal:
        command = [
            *[sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"],
            *[f"http://127.0.0.1:{portal.port}/openapi.json", "--checks", "all"],
            *["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", EXAMPLES or "5"],
            *["--continue-on-failure", "--no-color", "--request-timeout", "60"],
            *(["--generation-database", "none"] if EXAMPLES else ["--generation-deterministic"]),
            *[part for header in headers for part in ("--header", header)],
            *known,
            *brief,
        ]
        env = os.environ | {"SCHEMATHESIS_HOOKS": "tests.conformance.hooks", "PYTHONPATH": str(HERE.parent.parent)}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert "generated" in done.stdout  # it did not simply find nothing to do
    if EXAMPLES:
        print(done.stdout[-2_000:])
