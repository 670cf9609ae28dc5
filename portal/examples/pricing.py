"""A page on which a user edits a pricing rule in JavaScript, saves it, and places orders with it.

    python -m portal.examples.pricing

The rule is code that nobody here wrote: it runs in a locked-down child process, under limits. A new rule is tried with
a few orders first. One that fails, runs too long or returns no price is rejected, and the old rule stays. For other
users than yourself, give the HTTPPortal `auth=`.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from portal import CallContext, CallTimeout, FunctionError, HTTPPortal, JavaScriptError, JavaScriptPortal, JSFunction
from portal.javascript import Analysis, Limits, Sandbox
from portal.serving import Request, Response

__all__ = ["Pricing", "Rule", "main"]

_PAGE = Path(__file__).with_suffix(".html")
_RULE = """\
// The price of an order: { amount, tier }
function price(order) {
  const rates = { bronze: 0.05, silver: 0.1, gold: 0.15 };
  return order.amount * (1 - (rates[order.tier] ?? 0));
}
"""
_SCHEMA: dict[str, Any] = {
    "input": {
        "type": "object",
        "properties": {"amount": {"type": "number", "minimum": 0}, "tier": {"enum": ["bronze", "silver", "gold"]}},
        "required": ["amount", "tier"],
        "additionalProperties": False,
    },
    "output": {"type": "number", "minimum": 0},
}
#: With which a new rule is tried.
_ORDERS = ({"amount": 100, "tier": "bronze"}, {"amount": 0, "tier": "silver"}, {"amount": 99_999.99, "tier": "gold"})


@dataclass
class Rule:
    """The rule in use. The version grows with each change."""

    code: str
    version: int


class Pricing:
    """Serves the page and the functions `price`, `read_rule` and `save_rule`.

    Args:
        host, port: where to listen.
        limits: of one call of a rule.
        trial_time: seconds that a new rule may take for one order when it is tried.

    Threads: any.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, *, limits: Limits | None = None, trial_time: float = 0.5
    ) -> None:
        self._lock = threading.Lock()  # guards the rule, and keeps it in step with what is published
        self._rule = Rule(_RULE, 1)
        self._trials, self._trial_time = count(1), trial_time
        sandbox = Sandbox(limits=limits or Limits(), analysis=Analysis("reject"))
        self.javascript = JavaScriptPortal(sandbox=sandbox)
        price = self.javascript.apply(JSFunction(_RULE, "price", schema=_SCHEMA))
        self.http = HTTPPortal(host, port, title="Pricing")
        self.price = self.http.apply(self.javascript.resolve_function(price))
        self.http.apply(self.read_rule)
        self.http.apply(self.save_rule)
        self.http.listener.mount("/pricing", self)

    def handle(self, request: Request) -> Response:
        """Return the page; see `portal.serving.App`."""
        if request.method not in ("GET", "HEAD"):
            return Response(405, [("Allow", "GET, HEAD")])
        return Response(200, [("Content-Type", "text/html; charset=utf-8")], _PAGE.read_bytes())

    def read_rule(self) -> Rule:
        """Return the rule in use."""
        with self._lock:
            return self._rule

    def save_rule(self, code: str) -> Rule:
        """Use another rule from the next order on, if it gives a price for each of a few orders.

        Raises: JavaScriptError for a rule that does not; the old one stays.
        """
        self._try(code)
        with self._lock:
            self.javascript.replace("price", code)
            self._rule = Rule(code, self._rule.version + 1)
            return self._rule

    def _try(self, code: str) -> None:
        name = f"rule-{next(self._trials)}"
        trial = self.javascript.apply(JSFunction(code, name, schema=_SCHEMA, timeout=self._trial_time))
        try:
            resolved = self.javascript.resolve_function(trial)
            for order in _ORDERS:
                resolved.invoke(order, CallContext())
        except CallTimeout as error:
            message = f"the rule must take at most {self._trial_time:g} s for an order"
            raise JavaScriptError(message, stage="timeout") from error
        except FunctionError as error:
            message = "the rule must return a number of at least 0 for each order"
            raise JavaScriptError(message, stage="validate") from error
        finally:
            self.javascript.remove(trial)

    def __enter__(self) -> str:
        self.javascript.start()
        self.http.start()
        return f"http://{self.price.authority}/pricing"

    def __exit__(self, *exc: object) -> None:
        self.http.close()
        self.javascript.close()


def main() -> int:
    """Serve the page until Ctrl-C."""
    with Pricing(port=8080) as address, suppress(KeyboardInterrupt):
        print(address, flush=True)
        threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
