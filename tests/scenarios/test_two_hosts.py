"""Two hosts with two workers each behind one Valkey server, which is killed and comes back.

The hosts are two loopback addresses of this machine.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from pathlib import Path
from time import monotonic

import pytest

pytest.importorskip("gunicorn", reason="gunicorn is not installed")

from portal import Consumer, RateLimitError
from portal.directory import open_directory
from tests.support import valkey
from tests.support.command import ROOT, first_address, serving
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address of Linux only")
LIMIT = 20
WAIT = 120.0


def calls_until_limited(consumer: Consumer, addresses: list[str], most: int) -> tuple[int, set[int]]:
    """Return how many calls were allowed before the first one that was not, and the workers that ran them."""
    workers: set[int] = set()
    for number in range(most):
        try:
            workers.add(consumer.call_at(addresses[number % len(addresses)], timeout=WAIT))
        except RateLimitError:
            return number, workers
    return most, workers


def test_state_is_shared_and_a_lost_server_is_survived(tmp_path: Path) -> None:
    with ExitStack() as hosts, Consumer() as consumer:
        with valkey.running() as server:
            port = server.port
            url = f"redis://127.0.0.1:{port}/0"
            options = ("--workers", "2", "--name", "shop", "--limit", f"{LIMIT}/hour", "--limit-store", url)
            options += ("--directory", f"{url}#shop", "--json")
            target = "tests.support.served_functions:process_id"
            servers = [
                hosts.enter_context(serving(ROOT, target, "--http", f"127.0.0.{number}:0", *options))
                for number in (1, 2)
            ]
            addresses = [first_address(one) for one in servers]
            assert [address.split(":")[1] for address in addresses] == ["//127.0.0.1", "//127.0.0.2"]
            directory = hosts.enter_context(closing(open_directory(f"{url}#shop")))
            eventually(lambda: len(directory.instances("process_id")) == 2, WAIT)
            assert sorted(str(one.address) for one in directory.instances("process_id")) == sorted(addresses)
            allowed, workers = calls_until_limited(consumer, addresses, 2 * LIMIT)
            assert allowed == LIMIT
            assert len(workers) >= 2

        # the server is gone: no call fails, limits let calls pass, and the last list stays in use
        by_name = hosts.enter_context(Consumer(directory=directory))
        for _ in range(6):
            assert by_name.call("process_id", timeout=WAIT) in range(1, 2**31)
        eventually(lambda: directory.problem is not None, WAIT)
        assert len(directory.instances("process_id")) == 2

        with valkey.running(port=port):
            eventually(lambda: directory.problem is None, WAIT)
            assert len(directory.instances("process_id")) == 2
            begun = monotonic()
            while calls_until_limited(consumer, addresses, 3 * LIMIT)[0] == 3 * LIMIT:
                assert monotonic() - begun < WAIT, "the limits are not counted again"
