"""ValidationLimits: how much work validation may cost, and the counters of what exceeded it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic

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
        report_text: characters of that list, and of the text that it matches with patterns.
        pattern_time: seconds that the costly patterns of one value may take, before it is accepted or rejected.
        max_expansion: how many schemas may apply to one value, with every reference followed.

    Raises: ConfigError for a wrong setting.

    Threads: immutable.
    """

    report_time: float = 1.0
    report_text: int = 1024 * 1024
    pattern_time: float = 1.0
    max_expansion: int = 5_000

    def __post_init__(self) -> None:
        positive_seconds("validation.report_time", self.report_time, below=_DAY)
        size("validation.report_text", self.report_text)
        positive_seconds("validation.pattern_time", self.pattern_time, below=_DAY)
        count("validation.max_expansion", self.max_expansion)


class _Counters:
    """What exceeded a limit: reports that ended early, values whose patterns took too long, rejected schemas."""

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
        ends: `time.monotonic()` moment at which it ends.
        exceeded: whether something asked after that moment.
    """

    ends = 0.0
    exceeded = False

    def start(self, seconds: float) -> None:
        """Start anew, with `seconds` or with what is left until the deadline of the running call."""
        ends = monotonic() + seconds
        context = CallContext.current()
        if context is not None and context.deadline is not None and context.deadline < ends:
            ends = context.deadline
        self.ends, self.exceeded = ends, False

    def is_over(self) -> bool:
        """Return whether the time has passed."""
        if not self.exceeded and monotonic() > self.ends:
            self.exceeded = True
        return self.exceeded
