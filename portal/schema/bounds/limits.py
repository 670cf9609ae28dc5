"""ValidationLimits: how much work validation may cost, and the counters of what exceeded it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic, thread_time

from ..._internal.counter import Counter
from ..._internal.settings import count, instance, positive_seconds, size
from ...context import CallContext

__all__ = ["Allowance", "ValidationLimits", "counters", "limits", "set_validation_limits", "validation_stats"]

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class ValidationLimits:
    """Limits of validation in this process. `set_validation_limits` installs them.

    Attributes:
        report_time: seconds that the list of a value's faults may take. The deadline of the call ends it earlier.
        report_text: characters of that list.
        pattern_text: characters of values and names that are matched with patterns for that list.
        pattern_time: seconds of processor time that the costly patterns of one value may take. It is then rejected.
        max_schemas: how many schemas may be in one JSON Schema, definitions included.
        max_expansion: how many of them may apply to one value, with every reference followed.

    Raises: ConfigError for a wrong setting.

    Threads: immutable.
    """

    report_time: float = 1.0
    report_text: int = 64 * 1024
    pattern_text: int = 1024 * 1024
    pattern_time: float = 1.0
    max_schemas: int = 5_000
    max_expansion: int = 5_000

    def __post_init__(self) -> None:
        positive_seconds("validation.report_time", self.report_time, below=_DAY)
        size("validation.report_text", self.report_text)
        size("validation.pattern_text", self.pattern_text)
        positive_seconds("validation.pattern_time", self.pattern_time, below=_DAY)
        count("validation.max_schemas", self.max_schemas)
        count("validation.max_expansion", self.max_expansion)


class _Counters:
    """Counters of exceeded limits: reports cut short, values whose patterns took too long, rejected schemas."""

    def __init__(self) -> None:
        self.reports, self.patterns, self.schemas = Counter(), Counter(), Counter()


class _Installed:
    limits = ValidationLimits()


counters = _Counters()
_installed = _Installed()


def limits() -> ValidationLimits:
    """Return the limits that are installed."""
    return _installed.limits


def set_validation_limits(new: ValidationLimits) -> ValidationLimits:
    """Install limits for this process and return the earlier ones.

    Raises: ConfigError for a value that is not ValidationLimits.

    Threads: any. Validation that runs may keep the earlier limits.
    """
    instance("validation.limits", new, ValidationLimits)
    earlier, _installed.limits = _installed.limits, new
    return earlier


def validation_stats() -> dict[str, int]:
    """Return how often a limit was exceeded in this process."""
    return {
        "reports_ended": counters.reports.value,
        "patterns_ended": counters.patterns.value,
        "schemas_rejected": counters.schemas.value,
    }


class Allowance(threading.local):
    """The time that validation in this thread may still take.

    Attributes:
        ends: `time.thread_time()` moment at which it ends. Time in which other threads run does not count.
        deadline: `time.monotonic()` moment at which it ends at the latest; None without one.
        exceeded: whether something asked after that moment.
    """

    ends = 0.0
    deadline: float | None = None
    exceeded = False

    def start(self, seconds: float, elapsed: float | None = None) -> None:
        """Start anew.

        Args:
            seconds: of processor time.
            elapsed: seconds of all time; None sets no limit. The deadline of the running call is always one.
        """
        context = CallContext.current()
        self.deadline = None if context is None else context.deadline
        if elapsed is not None and (self.deadline is None or self.deadline > monotonic() + elapsed):
            self.deadline = monotonic() + elapsed
        self.ends, self.exceeded = thread_time() + seconds, False

    def is_over(self) -> bool:
        """Return whether the time has passed."""
        if not self.exceeded:
            self.exceeded = thread_time() > self.ends or (self.deadline is not None and monotonic() > self.deadline)
        return self.exceeded
