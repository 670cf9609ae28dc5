"""A client that sends a file and gets it back: `python file_client.py '{"address": ..., "path": ..., "warm": ...}'`.

It transfers the small file `warm`, prints its peak of memory, waits for a line, and does the same with `path`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from time import monotonic

from portal import Consumer
from portal.schema import File
from tests.long.memory import peak_memory


def digest_of(file: File) -> str:
    found = hashlib.sha256()
    for piece in file.chunks():
        found.update(piece)
    return found.hexdigest()


def transfer(consumer: Consumer, address: str, path: str) -> dict[str, object]:
    began = monotonic()
    returned = consumer.resolve(address, returns=File)(file=File(path))
    seconds = monotonic() - began
    sent = digest_of(File(path))
    return {
        "seconds": seconds,
        "size": returned.size,
        "name": returned.name,
        "same": digest_of(returned) == sent,
        "peak": peak_memory(),
    }


def main() -> None:
    settings = json.loads(sys.argv[1])
    with Consumer(timeout=settings["timeout"]) as consumer:
        for path in (settings["warm"], settings["path"]):
            print(json.dumps(transfer(consumer, settings["address"], path)), flush=True)
            sys.stdin.readline()


if __name__ == "__main__":
    main()
