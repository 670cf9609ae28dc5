"""Notifications: a job tells the client that started it how far it is, and nobody else.

    python -m portal.examples.notifications

The client subscribes to the topic `jobs` with the name of its job, and starts it. A subscriber gets the events of its
own job only. If its connection is lost, it gets what it missed when it comes back.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypedDict
from uuid import uuid4

from portal import Consumer, WebSocketPortal
from portal.websocket import Event

__all__ = ["Progress", "follow", "job_portal", "main"]


@dataclass
class Progress:
    """The progress of a job."""

    job: str
    done: int
    of: int


class Which(TypedDict):
    """The job of a subscriber."""

    job: str


def job_portal(host: str = "127.0.0.1", port: int = 0) -> WebSocketPortal:
    """Return a portal with the topic `jobs` and the function `run_job`."""
    portal = WebSocketPortal(host, port, title="Jobs")
    jobs = portal.topic("jobs", item=Progress, params=Which)

    def run_job(job: str, steps: int) -> int:
        """Do a job with so many steps, and publish each of them. Return their number."""

        def concerns(subscriber: Any) -> bool:
            return bool(subscriber.params["job"] == job)

        for done in range(1, steps + 1):
            jobs.publish(Progress(job, done, steps), to=concerns)
        return steps

    portal.apply(run_job)
    return portal


def follow(consumer: Consumer, base: str, steps: int) -> Iterator[Progress]:
    """Start a job and yield its progress until it is done."""
    job = uuid4().hex
    with consumer.subscribe(f"{base}/jobs", {"job": job}, returns=Progress) as events:
        running = consumer.submit_at(f"{base}/run_job", {"job": job, "steps": steps})
        for item in events:
            if isinstance(item, Event):
                yield item.data
                if item.data.done == item.data.of:
                    break
        running.result()


def main() -> int:
    """Run a job and print its progress."""
    with job_portal() as portal, Consumer() as consumer:
        for progress in follow(consumer, str(portal.base), 5):
            print(f"{progress.done} of {progress.of}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
