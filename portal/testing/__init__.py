"""Tools for tests: mocks and call history at `test://`, recordings of real calls and their replay."""

from .history import CallRecord
from .matchers import ANY, any_of, approx, having, matching, where
from .mock import Mock
from .portal import TestingPortal
from .recording import Recorder, RecordingPortal, recording
from .replay import Replay

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
