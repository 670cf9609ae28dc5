"""A portal whose server has faults inside, for `portal serve` and gunicorn; see `tests.support.inside_faults`."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import Any

from tests.support.inside_faults import Faults
from tests.support.stalls import Stalls

SETTINGS = json.loads(os.environ["FAULTS"])
WORKERS = 8
#: What puts a claim back has to run: no server can put back what its own code to put it back does not.
UNDO = {
    *("_forget", "close", "abort", "reset", "discard", "finish", "release", "recover", "_leave", "_end_job"),
    *("forget_hangup", "end_stream", "_end_after", "_finish", "_close", "drop", "_release", "_unregister"),
    *("close_socket", "_record", "_abandon", "_end_failed", "drop_all", "check_released", "_end", "_fail"),
    *("_release_connection", "_settle"),
}
faults = Faults(SETTINGS["seed"], UNDO)
faults.install()

from portal import HTTPPortal, function  # noqa: E402
from portal.http import RequestLog  # noqa: E402
from portal.idempotency.middleware import Idempotency  # noqa: E402
from portal.serving import ServingConfig  # noqa: E402

_FILE = os.open(os.environ["EXECUTIONS"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
_stalls: list[Stalls] = []
_together = threading.Barrier(WORKERS)


@function
def work(number: int) -> int:
    """Write the number down: it must not be executed twice."""
    os.write(_FILE, b"%d\n" % number)
    return number


@function
def slow(number: int) -> int:
    """Take a while."""
    threading.Event().wait(0.03)
    os.write(_FILE, b"%d\n" % number)
    return number


@function
def items(number: int) -> Iterator[int]:
    """Send some items."""
    for one in range(20):
        threading.Event().wait(0.001)
        yield number + one


@function
def meet() -> bool:
    """Wait until all workers are here."""
    _together.wait(20)
    return True


@function
def begin(seconds: float) -> int:
    """Inject faults for some seconds."""
    threading.Thread(target=faults.run, args=(seconds,), daemon=True).start()
    _stalls.append(Stalls())
    return os.getpid()


@function
def state() -> dict[str, Any]:
    """Return the counters of the server, and how many faults there were."""
    stats = http.stats()
    return {
        "pid": os.getpid(),
        "fired": dict(faults.fired),
        "order": [list(row) for row in faults.order],
        "stalls": [list(row) for one in _stalls for row in one.intervals],
        "listener": stats["listener"],
        "middleware": stats["middleware"],
        "running": stats["running"],
    }


http = HTTPPortal(
    port=SETTINGS["port"],
    name="faulty",
    middleware=[Idempotency(store=SETTINGS["store"], lease=2.0, wait=1.0)],
    http_middleware=[RequestLog(SETTINGS["log"])],
    config=ServingConfig(workers=WORKERS, max_running_per_function=WORKERS, max_running_per_client=WORKERS),
)
for _function in (work, slow, items, meet, begin, state):
    http.apply(_function)
