"""Settings of every test: hypothesis, and how often CPython switches between threads.

With PORTAL_SWITCH_INTERVAL, in seconds, CPython switches threads that often instead of every 5 ms. Then a place that is
right only while no other thread runs fails within a few thousand steps.
"""

from __future__ import annotations

import os
import sys

from hypothesis import settings

# Shared machines are slow at times, so the duration of one example is not tested.
settings.register_profile("portal", deadline=None)
settings.load_profile("portal")

if interval := os.environ.get("PORTAL_SWITCH_INTERVAL"):
    sys.setswitchinterval(float(interval))
