"""Many calls at a time: batches, and futures that cancel their call."""

from __future__ import annotations

from ...calls.call_future import CallFuture, submit_call
from .batch import Batch, has_retry
from .bundles import together
from .chunks import map_in_chunks

__all__ = ["Batch", "CallFuture", "has_retry", "map_in_chunks", "submit_call", "together"]
