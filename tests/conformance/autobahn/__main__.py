"""Run the Autobahn test suite: its client against our server, and its server against our client.

    python -m tests.conformance.autobahn FOLDER [--sections 1 2 10] [--direction server|client]

The suite needs CPython 2.7: the environment variable AUTOBAHN_PYTHON, or python2.7 on the path. It is installed in
FOLDER. Without a CPython 2.7 this says so and ends.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

from .echo import run_client, start_server

SUITE = "autobahntestsuite==25.10.1"
SECTIONS = ("1", "2", "3", "4", "5", "6", "7", "9", "10", "12", "13")
LARGEST = ["9.1.6", "9.2.6"]  # 16 MiB each
ACCEPTED = frozenset(("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"))
AGENT = "Portal"
RUN = "import sys; from autobahntestsuite.wstest import run; sys.exit(run())"


def find_python() -> str | None:
    """Return a CPython 2.7 that works, or None."""
    for candidate in (os.environ.get("AUTOBAHN_PYTHON"), shutil.which("python2.7")):
        if candidate:
            done = subprocess.run(
                [candidate, "-c", "import sys; print(sys.version_info[:2])"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.stdout.strip() == "(2, 7)":
                return candidate
    return None


def install(python: str, folder: Path) -> Path:
    """Install the suite unless it is there."""
    target = folder / "suite"
    if not (target / "autobahntestsuite").exists():
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--target", str(target), SUITE], check=True)
    (target / "zope" / "__init__.py").touch()
    return target


def start(python: str, suite: Path, folder: Path, mode: str, spec: dict[str, Any]) -> subprocess.Popen[bytes]:
    path = folder / f"{mode}.json"
    path.write_text(json.dumps(spec))
    with open(folder / f"{mode}.log", "wb") as log:
        return subprocess.Popen(
            [python, "-c", RUN, "-m", mode, "-s", str(path), "--webport", "0"],
            env=os.environ | {"PYTHONPATH": str(suite)},
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )


def cases(sections: list[str]) -> dict[str, Any]:
    return {"cases": [f"{section}.*" for section in sections], "exclude-cases": LARGEST, "exclude-agent-cases": {}}


def run_server(python: str, suite: Path, folder: Path, sections: list[str]) -> Path:
    """Run the suite's client against our server."""
    reports = folder / "server"
    shutil.rmtree(reports, ignore_errors=True)
    listener = start_server()
    try:
        server = {"agent": AGENT, "url": f"ws://127.0.0.1:{listener.port}", "options": {"version": 18}}
        spec = {"outdir": str(reports), "servers": [server], **cases(sections)}
        if start(python, suite, folder, "fuzzingclient", spec).wait():
            sys.exit(f"the suite failed; see {folder / 'fuzzingclient.log'}")
    finally:
        listener.stop(1.0)
    return reports


def run_clients(python: str, suite: Path, folder: Path, sections: list[str]) -> Path:
    """Run our client against the suite's server."""
    reports = folder / "client"
    shutil.rmtree(reports, ignore_errors=True)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    spec = {"url": f"ws://127.0.0.1:{port}", "outdir": str(reports), **cases(sections)}
    process = start(python, suite, folder, "fuzzingserver", spec)
    try:
        wait_for(port)
        count = int(run_client(port, "/getCaseCount")[0])
        for number in range(1, count + 1):
            try:
                run_client(port, f"/runCase?case={number}&agent={AGENT}")
            except OSError as error:
                print(f"case {number}: {error}", flush=True)
        run_client(port, f"/updateReports?agent={AGENT}")
    finally:
        process.kill()
        process.wait()
    return reports


def wait_for(port: int) -> None:
    for _ in range(1200):  # two minutes, for a busy machine
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            Event().wait(0.1)
        else:
            return
    sys.exit("the suite's server does not start")


def summarise(name: str, reports: Path) -> bool:
    """Print how the cases ended. Return whether none failed."""
    found = json.loads((reports / "index.json").read_text())[AGENT]
    by_end: dict[str, list[str]] = {}
    for case, row in found.items():
        end, closing = row["behavior"], row["behaviorClose"]
        if closing not in ACCEPTED:
            end = f"{end}, close {closing}"
        by_end.setdefault(end, []).append(case)
    print(f"{name}: {len(found)} cases: " + ", ".join(f"{len(rows)} {end}" for end, rows in sorted(by_end.items())))
    for end, rows in sorted(by_end.items()):
        if end != "OK":
            print(f"  {end}: {' '.join(sorted(rows, key=lambda case: [int(part) for part in case.split('.')]))}")
    return by_end.keys() <= ACCEPTED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sections", nargs="+", default=list(SECTIONS))
    parser.add_argument("--direction", choices=["server", "client"])
    options = parser.parse_args()
    python = find_python()
    if python is None:
        print("the Autobahn test suite needs CPython 2.7, which is not here; set AUTOBAHN_PYTHON to its path")
        return
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    suite = install(python, folder)
    good = True
    if options.direction != "client":
        good &= summarise("our server", run_server(python, suite, folder, options.sections))
    if options.direction != "server":
        good &= summarise("our client", run_clients(python, suite, folder, options.sections))
    if not good:
        sys.exit(1)


if __name__ == "__main__":
    main()
