"""RetryBudget: stop retries to a service while most of its calls fail (gRPC proposal A6, "retry throttling").

Source: gRFC A6, Client Retries.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._internal.at_fork import new_lock
from .._internal.settings import number

__all__ = ["RetryBudget", "RetryTokens"]


@dataclass(frozen=True)
class RetryBudget:
    """The settings of a bucket of tokens, of which each service has one.

    The bucket is full at first. Each attempt that fails takes one token, and each that succeeds adds `token_ratio`.
    While the bucket is half full or less, no call is sent again and none is hedged; first attempts always are. So
    retries stop early in an outage, and begin again when calls succeed.

    An attempt fails for the budget if the error is temporary, or says not to retry. An error such as ValidationError
    does not count.

    Attributes:
        max_tokens: the capacity, at most 1,000.
        token_ratio: the tokens for one success. At 0.1, a tenth of the calls may be retries in the long run.

    Raises: ConfigError for a wrong setting.

    Threads: immutable; any thread may use it.
    """

    max_tokens: float = 100.0
    token_ratio: float = 0.1

    def __post_init__(self) -> None:
        number("retry_budget.max_tokens", self.max_tokens, above=0, maximum=1000)
        number("retry_budget.token_ratio", self.token_ratio, above=0, maximum=1000)


class RetryTokens:
    """The bucket of one service.

    Threads: any.
    """

    __slots__ = ("_budget", "_lock", "_rejected", "_tokens")

    def __init__(self, budget: RetryBudget) -> None:
        self._budget = budget
        self._lock = new_lock()  # guards the attributes below
        self._tokens = float(budget.max_tokens)
        self._rejected = 0

    @property
    def is_full(self) -> bool:
        """Whether nothing has failed that was not made up for."""
        return self._tokens >= self._budget.max_tokens

    def succeed(self) -> None:
        """Count an attempt that succeeded."""
        most = self._budget.max_tokens
        if self._tokens < most:
            with self._lock:
                self._tokens = min(most, self._tokens + self._budget.token_ratio)

    def fail(self) -> None:
        """Count an attempt that failed."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1.0)

    def allow_retry(self) -> bool:
        """Return whether a call may be sent again or hedged now; a rejection is counted."""
        with self._lock:
            if self._tokens > self._budget.max_tokens / 2:
                return True
            self._rejected += 1
            return False

    def stats(self) -> dict[str, float]:
        """Return the tokens left and the number of rejected retries."""
        with self._lock:
            return {"tokens": self._tokens, "rejected": self._rejected}
