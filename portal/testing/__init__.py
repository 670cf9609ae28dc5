"""Test tools: mocks, expectations and call history at `test://`, and recording of real calls for replay."""

from .history import CallRecord
from .matchers import ANY, any_of, approx, having, matching, where
from .mock import Mock
from .portal import TestingPortal
from .recording import Recorder, RecordingPortal, Replay, recording

__all__ = [
    "ANY",
    "CallRecord",
    "Mock",
    "Recorder",
    "RecordingPortal",
    "Replay",
    "TestingPortal",
    "any_of",
    "approx",
    "having",
    "matching",
    "recording",
    "where",
]
