"""Tools for tests: mocks and call history at `test://`, recordings of real calls, network faults, server processes."""

from .fault_proxy import FaultProxy
from .faults import BlackHole, Cut, HalfOpen, Latency, NetworkFault, Refuse, Reset, Rewrite, SlowBytes
from .history import RecordedCall
from .matchers import ANY, any_of, approx, having, matching, where
from .mock import Mock
from .portal import TestingPortal
from .recording import Recorder, RecordingPortal, recording
from .replay import Replay
from .server_processes import ServerProcesses
from .service_mock import ServiceMock

__all__ = [
    "ANY",
    "BlackHole",
    "Cut",
    "FaultProxy",
    "HalfOpen",
    "Latency",
    "Mock",
    "NetworkFault",
    "RecordedCall",
    "Recorder",
    "RecordingPortal",
    "Refuse",
    "Replay",
    "Reset",
    "Rewrite",
    "ServerProcesses",
    "ServiceMock",
    "SlowBytes",
    "TestingPortal",
    "any_of",
    "approx",
    "having",
    "matching",
    "recording",
    "where",
]
