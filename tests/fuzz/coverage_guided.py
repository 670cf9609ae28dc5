"""Fuzz the targets, guided by the branches that an input reaches.

    python -m tests.fuzz.coverage_guided                 all targets, one process after another
    python -m tests.fuzz.coverage_guided head 5000       one, that many runs

It needs the extra `fuzz` (atheris, which has wheels for CPython 3.11 on Linux) and says so where that is not there. An
input that breaks a promise is written to the working folder as crash-..., by libFuzzer.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = int(os.environ.get("PORTAL_FUZZ_RUNS", "200000"))
LONGEST = 600  # bytes of an input
PATIENCE = 1800  # seconds for one target


def fuzz(name: str, runs: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["portal"]):
        from tests.fuzz.targets import SEEDS, TARGETS

    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS[name]):
            Path(folder, str(number)).write_bytes(seed)
        options = [f"-runs={runs}", f"-max_len={LONGEST}", "-timeout=20", "-print_final_stats=1", "-verbosity=0"]
        atheris.Setup([sys.argv[0], folder, *options], TARGETS[name])
        atheris.Fuzz()


def main() -> int:
    """Fuzz all targets, each in a process of its own, or the one that is named."""
    if importlib.util.find_spec("atheris") is None:
        print("coverage-guided fuzzing is left out: there is no atheris here (the extra `fuzz`, on CPython 3.11)")
        return 0
    if len(sys.argv) > 1:
        fuzz(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else RUNS)
        return 0
    from tests.fuzz.targets import TARGETS

    failed = []
    for name in TARGETS:
        print(f"{name}: {RUNS} runs", flush=True)
        command = [sys.executable, "-m", "tests.fuzz.coverage_guided", name]
        if subprocess.run(command, timeout=PATIENCE).returncode:
            failed.append(name)
    print(f"broken: {', '.join(failed)}" if failed else "all hold")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
