"""A WebSocket portal that is killed: it notes each execution, and publishes numbers all the time."""

from __future__ import annotations

import json
import os
import sys
import threading

from portal import function
from portal.websocket.portal import WebSocketPortal

SETTINGS = json.loads(sys.argv[1])
FILE = os.open(SETTINGS["executions"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)


@function
def work(number: int) -> int:
    """Must not be executed twice."""
    os.write(FILE, b"%d\n" % number)  # one write to a file opened for appending is atomic
    return number


@function(idempotent=True)
def safe(number: int) -> int:
    """May be executed twice."""
    os.write(FILE, b"%d\n" % number)
    return number


def main() -> None:
    portal = WebSocketPortal(port=SETTINGS["port"])
    portal.apply(work)
    portal.apply(safe)
    numbers = portal.topic("numbers", slow="drop_oldest")
    over = threading.Event()

    def publish() -> None:
        number = 0
        while not over.wait(SETTINGS.get("interval", 0.002)):
            number += 1
            numbers.publish(number)

    with portal:
        thread = threading.Thread(target=publish)
        thread.start()
        print("1", flush=True)
        sys.stdin.read()
        over.set()
        thread.join()


main()
