"""A portal that stores and returns files, in another process: `python serve_files.py '{"max_body": BYTES}'`.

It prints its address, then responds to each line with the most memory that it has had, and what is on disk.
"""

from __future__ import annotations

import hashlib
import json
import sys

from portal import HTTPPortal, ServingConfig, function
from portal.schema import File
from tests.long.memory import peak_memory


def main() -> None:
    settings = json.loads(sys.argv[1])

    @function(max_body=settings["max_body"])
    def echo(file: File) -> File:
        """Return the same file."""
        return file

    @function(max_body=settings["max_body"])
    def digest(file: File) -> str:
        """Return the SHA-256 of a file."""
        found = hashlib.sha256()
        for piece in file.chunks():
            found.update(piece)
        return found.hexdigest()

    with HTTPPortal(config=ServingConfig(max_input_on_disk=4 * settings["max_body"])) as http:
        http.apply(digest)
        print(json.dumps(str(http.apply(echo))), flush=True)
        for _ in sys.stdin:
            figures = {"peak": peak_memory(), "on_disk": http.listener.stats()["input_on_disk"]}
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
