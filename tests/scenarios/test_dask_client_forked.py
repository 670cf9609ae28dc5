"""A process that is connected to a scheduler forks: the child connects anew, or is told to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from tests.support.dask_cluster import ROOT, SchedulerProcess, quiet
from tests.support.ports import free_port

pytestmark = quiet

#: Prints the outcome of a call in a child, which ends as a program does.
SCRIPT = """
import gc, os, sys, warnings
warnings.simplefilter("ignore")
import distributed
from portal import Consumer
from portal.cluster import DaskPortal, DaskResolver
from tests.support import cluster_functions as functions

authority, is_given = sys.argv[1], sys.argv[2] == "given"
scheduler = distributed.Client("tcp://" + authority, set_as_default=False) if is_given else authority
portal = DaskPortal(scheduler)
address = portal.apply(functions.square)
portal.start()
resolver = DaskResolver(scheduler) if is_given else DaskResolver()
consumer = Consumer([resolver])
assert consumer.call_at(address, {"n": 2}) == 4
child = os.fork()
if child == 0:
    gc.collect()
    for call in (lambda: consumer.call_at(address, {"n": 3}), lambda: list(portal.map_at(address, [{"n": 4}]))):
        try:
            print(call())
        except Exception as error:
            print(type(error).__name__, error)
    portal.close()
    consumer.close()
    resolver.close()
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
print("parent", consumer.call_at(address, {"n": 5}), flush=True)
portal.close()
resolver.close()
"""


@pytest.fixture(scope="module")
def scheduler() -> Iterator[SchedulerProcess]:
    made = SchedulerProcess(free_port())
    try:
        made.wait()
        yield made
    finally:
        made.kill()


def outcomes(*arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60.0, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_child_connects_anew(scheduler: SchedulerProcess) -> None:
    assert outcomes(scheduler.address, "address") == ["9", "[16]", "parent 25"]


def test_a_client_that_was_given_is_rejected_in_a_child(scheduler: SchedulerProcess) -> None:
    *child, parent = outcomes(scheduler.address, "given")
    assert parent == "parent 25"
    assert len(child) == 2
    for line in child:
        assert line.startswith("ConfigError")
        assert f'"{scheduler.address}"' in line
