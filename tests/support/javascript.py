"""Programs and limits for tests of JavaScript."""

from __future__ import annotations

import os
from pathlib import Path

from portal.javascript import EngineError, Limits, Program
from portal.javascript.engine import Host
from portal.javascript.parsing.source import arguments_for, prepare
from portal.javascript.pool.process import ChildSettings

MIB = 1024 * 1024
QUICK = Limits(time=0.1, memory=8 * MIB, stack=256 * 1024)
#: For code that ends by itself, on a machine that may be busy.
PATIENT = Limits(time=10.0, memory=8 * MIB, stack=256 * 1024)
QUICKJS = "portal.javascript.engines.quickjs:QuickJSEngine"
CHILD = ChildSettings(QUICKJS, address_space=512 * MIB)


def program(source: str, name: str = "f", properties: tuple[str, ...] = (), **options: str) -> Program:
    found = prepare(source, name)
    assert found.problem is None
    arguments = arguments_for(found.parameters, properties)
    return Program(name, found.text, found.added_lines, arguments, options.get("options", '{"log": 1000}'))


def no_host(kind: str, text: str) -> str:
    raise EngineError("host", f"{kind} is not granted", name="HostError")


class RecordingHost:
    """Records requests; returns the text that was sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []

    def __call__(self, kind: str, text: str) -> str:
        self.requests.append((kind, text))
        return text


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0


__all__ = ["CHILD", "MIB", "PATIENT", "QUICK", "QUICKJS", "Host", "RecordingHost", "no_host", "open_files", "program"]
