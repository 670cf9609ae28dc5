"""Exceptions at each point at which CPython runs the handler of a signal."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from functools import cache
from types import CodeType, FrameType
from typing import Any

__all__ = ["SoftTimeLimit", "interrupted_everywhere"]

#: After these instructions CPython looks whether a signal has arrived (CHECK_EVAL_BREAKER in ceval.c).
_LOOKS = {"CALL", "CALL_FUNCTION_EX", "CALL_KW", "RESUME", "JUMP_BACKWARD"}


class SoftTimeLimit(Exception):
    """What the handler raises."""


def _looks_between(code: CodeType, before: int, now: int) -> bool:
    """Return whether CPython looks for signals between two instructions, and one handler is in effect for both.

    The exception of a signal belongs to the first instruction, and that of a trace function to the second.
    """
    return dis.opname[code.co_code[before]] in _LOOKS and _handler_of(code, before) == _handler_of(code, now)


@cache
def _handlers(code: CodeType) -> list[tuple[int, int, int]]:
    rows = dis._parse_exception_table(code)  # type: ignore[attr-defined]
    return [(one.start, one.end, one.target) for one in rows]


def _handler_of(code: CodeType, offset: int) -> int | None:
    return next((target for start, end, target in _handlers(code) if start <= offset < end), None)


class _Interrupt:
    """Raises SoftTimeLimit at the n-th point in the functions of some modules."""

    def __init__(self, number: int, modules: tuple[str, ...]) -> None:
        self.left = number
        self._modules = modules
        self._last: dict[FrameType, int] = {}

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.endswith(self._modules):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            before, self._last[frame] = self._last.get(frame), frame.f_lasti
            if before is not None and _looks_between(frame.f_code, before, frame.f_lasti):
                self.left -= 1
                if self.left == 0:
                    raise SoftTimeLimit(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}")
        return self.trace


def interrupted_everywhere(work: Callable[[], object], *modules: str) -> Iterator[bool]:
    """Call `work` with an exception at the first point, then at the second one, and so on, until there is no more.

    Args:
        modules: ends of the paths of the modules whose functions are interrupted.
    Yields: whether `work` has raised the exception.
    """
    number = 0
    while True:
        number += 1
        interrupt = _Interrupt(number, modules)
        before = sys.gettrace()
        sys.settrace(interrupt.trace)
        try:
            work()
            raised = False
        except SoftTimeLimit:
            raised = True
        finally:
            sys.settrace(before)
        yield raised
        if interrupt.left > 0:
            return
