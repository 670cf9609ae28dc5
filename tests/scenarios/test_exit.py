"""A program that ends in the middle of calls ends at once, and says nothing."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

import portal

PROGRAM = """
import sys, threading
from contextlib import suppress
from portal import Consumer, HTTPPortal, LocalPortal, OverloadedError

begun = threading.Semaphore(0)

def hold() -> int:
    begun.release()
    threading.Event().wait(600)
    return 1

def quick() -> int:
    begun.release()
    return 1

def endless():
    while True:
        begun.release()
        yield 1

http, local, consumer = HTTPPortal(), LocalPortal(), Consumer()
for one in (hold, quick, endless):
    local.apply(one)
    http.apply(one)
http.start()
places = (str(http.base), "local:/")
kind = sys.argv[1]

# From CPython 3.12 on no thread can be started once the interpreter ends: a call may be refused then.
def loop(place):
    while True:
        with suppress(OverloadedError):
            consumer.call_at(f"{place}/quick", timeout=60.0)

def read(place):
    with suppress(OverloadedError):
        for item in consumer.stream_at(f"{place}/endless", timeout=60.0):
            pass

for place in places:
    if kind == "loops":
        threading.Thread(target=loop, args=(place,), daemon=True).start()
        threading.Thread(target=read, args=(place,), daemon=True).start()
    elif kind == "submitted":
        kept = [consumer.submit_at(f"{place}/hold", timeout=60.0) for _ in range(50)]
    elif kind == "stream":
        stream = consumer.stream_at(f"{place}/endless")
        next(stream)
for _ in range(2):
    assert begun.acquire(timeout=60)
"""


@pytest.mark.parametrize("kind", ["loops", "submitted", "stream"])
def test_a_program_ends_in_the_middle_of_calls(kind: str) -> None:
    root = str(pathlib.Path(portal.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, kind],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": root},
    )
    assert (done.returncode, done.stderr) == (0, "")
