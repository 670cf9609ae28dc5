"""The client side loads no server: what a call of http:// imports."""

from __future__ import annotations

import subprocess
import sys

from portal import HTTPPortal

PROGRAM = """
import sys
from portal import Consumer
with Consumer() as consumer:
    assert consumer.call_at(sys.argv[1], {"a": 1, "b": 2}) == 3.0
    assert consumer.list_at(sys.argv[1].partition("/add")[0])["functions"]
ours = ("portal.serving", "portal.http.server", "portal.http.portal", "portal.http.documents")
server = (*ours, "http.server", "wsgiref")
print([name for name in sys.modules if name.startswith(server)])
"""


def add(a: float, b: float) -> float:
    return a + b


def test_a_call_over_http_loads_no_server() -> None:
    with HTTPPortal() as portal:
        address = str(portal.apply(add))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, address], capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
